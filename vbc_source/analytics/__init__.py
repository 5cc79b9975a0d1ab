"""dbt models of the loaded tables, and the database that holds them.

`dbt/` is also a package that other dbt projects can use.
"""
