{#- What to call somebody. -#}
{% macro person(first_name, last_name, login_name, email) -%}
  coalesce(
    nullif(trim(concat_ws(' ', nullif(trim({{ first_name }}), ''), nullif(trim({{ last_name }}), ''))), ''),
    nullif(trim({{ login_name }}), ''),
    nullif(trim({{ email }}), '')
  )
{%- endmacro %}
