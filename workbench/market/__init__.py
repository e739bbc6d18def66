"""What the other rooms agree on: bars, timeframes, sessions, contracts. Pure; the time is an argument."""
