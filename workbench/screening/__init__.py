"""The screen: named conditions over indicators, and the watchlist they give."""
