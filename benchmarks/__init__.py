"""Measures the connector beside other ways to load the same recordings. Run `make bench`."""
