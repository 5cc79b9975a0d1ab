{#- Select columns of a loaded table. A table or column that was never loaded counts as empty: dlt creates both only
    when the first value arrives. Call it with a literal name, or dbt cannot see the dependency. `start` and `end`,
    which are reserved words in most databases, become `started_at` and `ended_at`.

    Args:
        columns: Types by name: `text`, `instant`, or one that every warehouse has.

    In a unit test its rows take the table's place, and all columns count as present. -#}
{% macro raw(table, columns) %}
  {%- set given = source('vbc', table) -%} {#- for the lineage; a source `vbc` of the user's project would come first -#}
  {%- set relation = api.Relation.create(vbc_source.raw_database(), var("vbc_schema"), table) -%}
  {%- if model.resource_type == "unit_test" -%}
    {%- set relation = given -%}
  {%- endif -%}
  {%- set kinds = {"text": vbc_source.type_text(), "instant": vbc_source.type_instant()} -%}
  {%- set present = vbc_source.find_columns(relation, columns) -%}
  select
  {%- for name, kind in columns.items() %}
    cast({{ adapter.quote(present[name]) if name in present else 'null' }} as {{ kinds.get(kind, kind) }}) as
    {{- " " ~ {"start": "started_at", "end": "ended_at"}.get(name, name) }}
    {{- "," if not loop.last }}
  {%- endfor %}
  from {{ relation if present else "(select 1 as nothing) as nothing where 1 = 0" }}
{%- endmacro %}

{#- The database of the loaded tables. -#}
{% macro raw_database() -%}
  {{ return(var("vbc_database") or target.database) }}
{%- endmacro %}

{#- Map the lower-case names of a relation's columns to their names in the database; none where it does not exist. Asks
    the database, not dbt's cache (`adapter.get_relation`): dbt fills that table by table, and a model compiled meanwhile
    in another thread would find a part of the tables, and take the others for empty. -#}
{% macro find_columns(relation, columns) %}
  {%- set names = {} -%}
  {%- if model.resource_type == "unit_test" -%}
    {%- for name in columns -%}{%- do names.update({name: name}) -%}{%- endfor -%}
  {%- elif execute -%}
    {%- for name in vbc_source.list_columns(relation) -%}{%- do names.update({name | lower: name}) -%}{%- endfor -%}
  {%- endif -%}
  {{- return(names) -}}
{% endmacro %}

{% macro list_columns(relation) %}
  {{- return(adapter.dispatch("vbc_list_columns", "vbc_source")(relation)) -}}
{% endmacro %}

{% macro default__vbc_list_columns(relation) %}
  {{- return(adapter.get_columns_in_relation(relation) | map(attribute="name") | list) -}}
{% endmacro %}

{#- The adapter's own question is an error in DuckDB if the table does not exist. -#}
{% macro duckdb__vbc_list_columns(relation) %}
  {%- set found = run_query(
      "select column_name from information_schema.columns where table_catalog = " ~ dbt.string_literal(relation.database)
      ~ " and table_schema = " ~ dbt.string_literal(relation.schema)
      ~ " and table_name = " ~ dbt.string_literal(relation.identifier)
  ) -%}
  {{- return(found.columns[0].values() | list) -}}
{% endmacro %}
