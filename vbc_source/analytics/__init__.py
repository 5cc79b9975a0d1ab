"""dbt models of what is loaded."""
