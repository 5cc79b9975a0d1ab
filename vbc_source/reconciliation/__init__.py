"""Reconcile calls with recordings: which calls were recorded, which should have been, and what does not fit.

`calls` writes the queries, `spans` says what may be judged, `reconcile` runs, `findings` and `report` show.
"""
