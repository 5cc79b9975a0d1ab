{#- A person's name: first and last name, else login name, else e-mail address. -#}
{% macro person(first_name, last_name, login_name, email) -%}
  coalesce(
    nullif(trim(concat_ws(' ', nullif(trim({{ first_name }}), ''), nullif(trim({{ last_name }}), ''))), ''),
    nullif(trim({{ login_name }}), ''),
    nullif(trim({{ email }}), '')
  )
{%- endmacro %}
