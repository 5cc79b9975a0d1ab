{#- Unique key of a recording: `549825/company/1234`, or `549825/user/745249/1234`. -#}
{% macro recording_key(row) -%}
  concat_ws('/', {{ row }}.account_id, {{ row }}.recording_type, nullif({{ row }}.user_id, ''), cast({{ row }}.recording_id as text))
{%- endmacro %}
