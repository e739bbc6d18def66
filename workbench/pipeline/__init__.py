"""Notebooks executed headlessly."""
