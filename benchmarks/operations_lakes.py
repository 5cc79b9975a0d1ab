"""Scenarios of lakes, for `benchmarks.operations`."""
