"""Charts and tables, for people."""
