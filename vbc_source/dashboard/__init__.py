"""A read-only web page of figures for people who do not write SQL.

It reads the dbt models of `vbc_source.analytics` and serves this machine only.
"""
