{#- Refresh Postgres' statistics of a new table, which the plans of the next models need; DuckDB has them always. -#}
{% macro analyze(relation) -%}
  {%- if target.type == "postgres" -%}analyze {{ relation }}{%- endif -%}
{%- endmacro %}

{#- Switch off Postgres' JIT: compiling takes longer than these queries. -#}
{% macro disable_jit() -%}
  {%- if target.type == "postgres" -%}set local jit = off{%- endif -%}
{%- endmacro %}

{#- Index the digits of telephone numbers backwards, in which a number is found by its last digits; `search` of the
    dashboard writes the same expression. DuckDB reads a column in little time and needs none. -#}
{% macro index_numbers(relation, columns) -%}
  {%- if target.type == "postgres" and not is_incremental() -%}
    {%- for column in columns -%}
    create index on {{ relation }} (reverse(translate({{ column }}, '+-() ./', '')) text_pattern_ops);
    {% endfor -%}
  {%- endif -%}
{%- endmacro %}
