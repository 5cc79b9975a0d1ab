{#- Unique key of a recording: `549825/company/1234`, or `549825/user/745249/1234`. -#}
{% macro recording_key(row) -%}
  ({{ row }}.account_id || '/' || {{ row }}.recording_type || '/'
    || coalesce(nullif({{ row }}.user_id, '') || '/', '') || cast({{ row }}.recording_id as {{ vbc_source.type_text() }}))
{%- endmacro %}
