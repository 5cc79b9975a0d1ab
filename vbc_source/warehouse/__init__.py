"""Read back what is loaded: `queries`, in one SQL for all destinations; `completeness`, which proofs count.

The others read or define a table: recordings, users, tombstones, checks, gaps of calls, erasures.
"""
