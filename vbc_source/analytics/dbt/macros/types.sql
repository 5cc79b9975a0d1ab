{#- Macros that are chosen by warehouse (`adapter.dispatch`) have names with `vbc_`: dbt looks into the user's project first. -#}

{#- Types by the name that each warehouse gives them. `bigint`, `integer`, `boolean` and `date` are the same everywhere. -#}
{% macro type_text() -%}
  {{ return({"bigquery": "string", "redshift": "varchar(65535)"}.get(target.type, "text")) }}
{%- endmacro %}

{% macro type_instant() -%}
  {{ return("timestamp" if target.type == "bigquery" else "timestamp with time zone") }}
{%- endmacro %}

{% macro type_double() -%}
  {{ return("float64" if target.type == "bigquery" else "double precision") }}
{%- endmacro %}

{% macro type_decimal() -%}
  {{ return("bignumeric" if target.type == "bigquery" else "decimal(30, 9)") }}
{%- endmacro %}

{#- Keyword of a CTE that is computed once, where the database has one. -#}
{% macro materialized() -%}
  {{ return("materialized" if target.type in ("duckdb", "postgres") else "") }}
{%- endmacro %}
