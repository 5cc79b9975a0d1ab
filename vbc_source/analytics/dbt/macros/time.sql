{#- An instant on the wall clocks of the time zone. -#}
{% macro local_time(instant) -%}
  ({{ instant }} at time zone '{{ var("vbc_timezone") }}')
{%- endmacro %}

{% macro local_day(instant) -%}
  cast({{ vbc_source.local_time(instant) }} as date)
{%- endmacro %}

{#- The instant in which a day begins. Where clocks are put back over midnight, it comes twice: the first counts. -#}
{% macro day_start(day) -%}
  {%- set midnight = "(cast(" ~ day ~ " as timestamp) at time zone '" ~ var("vbc_timezone") ~ "')" -%}
  {%- set before = "(" ~ midnight ~ " - interval '1 hour')" -%}
  case when {{ vbc_source.local_day(before) }} = {{ day }} then {{ before }} else {{ midnight }} end
{%- endmacro %}

{#- One row a day, to be selected. -#}
{% macro each_day(first, last) -%}
  {{ return(adapter.dispatch("each_day", "vbc_source")(first, last)) }}
{%- endmacro %}

{% macro default__each_day(first, last) -%}
  cast(generate_series(cast({{ first }} as timestamp), cast({{ last }} as timestamp), interval '1 day') as date)
{%- endmacro %}

{% macro duckdb__each_day(first, last) -%}
  cast(unnest(generate_series(cast({{ first }} as timestamp), cast({{ last }} as timestamp), interval '1 day')) as date)
{%- endmacro %}
