"""Make the archive readable without this package: a JSON file beside each audio file, a manifest a day.

`sidecar` and `manifest` are pure, `storage` reads and writes both in a bucket. `missing_sidecars` writes
what is missing after each run; `rebuild` makes the ledger and the recordings from the bucket alone.
"""
