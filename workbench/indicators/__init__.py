"""Technical indicators over bars, computed by TA-Lib."""
