"""What was fetched, kept as plain parquet; and its catalogue in SQL."""
