"""From JSON to Arrow: the bytes of list responses become typed tables, and lists become child tables.

The schemas are data (`specs`); everything here is pure.
"""
