"""Load into a destination: `sync` runs a pipeline, `destinations/` makes ours, `locks` keep processes apart.

`failures/` explains errors of dlt, databases and buckets in one line; `ledgers/` loads what commands have
done.
"""
