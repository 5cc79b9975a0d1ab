{#- Select columns of a loaded table. A table or column that was never loaded counts as empty: dlt creates both only
    when the first value arrives. Call it with a literal name, or dbt cannot see the dependency. -#}
{% macro raw(table, columns) %}
  {%- do source('vbc', table) -%} {#- for the lineage; a source `vbc` of the user's project would come first -#}
  {%- set relation = api.Relation.create(target.database, var("vbc_dataset"), table) -%}
  {%- set present = vbc_source.find_columns(relation) -%}
  select
  {%- for name, kind in columns.items() %}
    cast({{ adapter.quote(name) if name in present else 'null' }} as {{ kind }}) as {{ adapter.quote(name) }}
    {{- "," if not loop.last }}
  {%- endfor %}
  {% if present %}from {{ relation }}{% else %}where 1 = 0{% endif %}
{%- endmacro %}

{% macro find_columns(relation) %}
  {%- set names = [] -%}
  {%- if execute -%}
    {%- set found = adapter.get_relation(relation.database, relation.schema, relation.identifier) -%}
    {%- if found -%}
      {%- for column in adapter.get_columns_in_relation(found) -%}{%- do names.append(column.name) -%}{%- endfor -%}
    {%- endif -%}
  {%- endif -%}
  {{- return(names) -}}
{% endmacro %}
