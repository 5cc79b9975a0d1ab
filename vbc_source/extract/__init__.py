"""Reads lists page by page, proves each window complete, and yields Arrow tables to dlt.

State records how far each list was read; it moves only with the rows that it covers.
"""
