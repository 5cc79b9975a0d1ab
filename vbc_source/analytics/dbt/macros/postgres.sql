{#- Have Postgres know how much there is before the next model asks; DuckDB knows. -#}
{% macro analyze(relation) -%}
  {%- if target.type == "postgres" -%}analyze {{ relation }}{%- endif -%}
{%- endmacro %}

{#- Compiling takes Postgres longer than these queries do. -#}
{% macro spare_compilation() -%}
  {%- if target.type == "postgres" -%}set local jit = off{%- endif -%}
{%- endmacro %}
