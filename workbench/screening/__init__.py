"""The screen: named conditions over the indicators of several timeframes, a score, and what came of such scores."""
