"""Measure the connector against other ways to load the same recordings. Run `make bench`."""
