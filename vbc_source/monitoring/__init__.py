"""Monitor a pipeline: `doctor` checks what a sync needs, `status` reads lag, rows and runs.

`prometheus` writes a status as metrics.
"""
