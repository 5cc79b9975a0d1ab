{#- Refresh Postgres' statistics of a new table, which the plans of the next models need; DuckDB has them always. -#}
{% macro analyze(relation) -%}
  {%- if target.type == "postgres" -%}analyze {{ relation }}{%- endif -%}
{%- endmacro %}

{#- Switch off Postgres' JIT: compiling takes longer than these queries. -#}
{% macro disable_jit() -%}
  {%- if target.type == "postgres" -%}set local jit = off{%- endif -%}
{%- endmacro %}
