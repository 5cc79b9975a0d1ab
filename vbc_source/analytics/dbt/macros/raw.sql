{#- Reads a table of the source with the given columns, whether or not it was ever loaded: a table or a column
    that is missing counts as empty. Call it with a literal name, so that dbt knows what depends on what. -#}
{% macro raw(table, columns) %}
  {%- set declared = source('vbc', table) -%}
  {%- set present = vbc_source.find_columns(declared) -%}
  select
  {%- for name, kind in columns.items() %}
    cast({{ adapter.quote(name) if name in present else 'null' }} as {{ kind }}) as {{ adapter.quote(name) }}
    {{- "," if not loop.last }}
  {%- endfor %}
  {% if present %}from {{ declared }}{% else %}where 1 = 0{% endif %}
{%- endmacro %}

{% macro find_columns(declared) %}
  {%- set names = [] -%}
  {%- if execute -%}
    {%- set found = adapter.get_relation(declared.database, declared.schema, declared.identifier) -%}
    {%- if found -%}
      {%- for column in adapter.get_columns_in_relation(found) -%}{%- do names.append(column.name) -%}{%- endfor -%}
    {%- endif -%}
  {%- endif -%}
  {{- return(names) -}}
{% endmacro %}
