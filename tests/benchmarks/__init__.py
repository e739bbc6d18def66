"""Measurements, run by `make bench`; none of them is a test that can fail on a time."""
