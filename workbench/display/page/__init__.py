"""The board alone in a browser: a page served by Voila, on this machine only, whose kernel ends with the page."""
