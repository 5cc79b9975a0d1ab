"""Faults that can be switched on: their catalogue, which are active, and what they do.

A fault replaces a response, breaks it off, alters its rows, or changes the data between pages.
"""
