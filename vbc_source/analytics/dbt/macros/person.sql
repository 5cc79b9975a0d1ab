{#- A person's name: first and last name, else login name, else e-mail address. -#}
{% macro person(first_name, last_name, login_name, email) -%}
  coalesce(
    nullif(trim(coalesce(trim({{ first_name }}), '') || ' ' || coalesce(trim({{ last_name }}), '')), ''),
    nullif(trim({{ login_name }}), ''),
    nullif(trim({{ email }}), '')
  )
{%- endmacro %}
