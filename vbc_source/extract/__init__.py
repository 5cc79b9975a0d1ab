"""Reads lists page by page, proves each window complete, and yields Arrow tables to dlt.

`reading/` reads one list. State records how far each was read; it moves only with the rows that it covers.
"""
