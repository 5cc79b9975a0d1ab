{#- An instant as local time of `vbc_timezone`. -#}
{% macro local_time(instant) -%}
  ({{ instant }} at time zone '{{ var("vbc_timezone") }}')
{%- endmacro %}

{% macro local_day(instant) -%}
  cast({{ vbc_source.local_time(instant) }} as date)
{%- endmacro %}

{#- The instant at which a day starts. Where clocks go back over midnight there are two: the first one counts. -#}
{% macro day_start(day) -%}
  {%- set midnight = "(cast(" ~ day ~ " as timestamp) at time zone '" ~ var("vbc_timezone") ~ "')" -%}
  {%- set before = "(" ~ midnight ~ " - interval '1 hour')" -%}
  case when {{ vbc_source.local_day(before) }} = {{ day }} then {{ before }} else {{ midnight }} end
{%- endmacro %}

{#- A set-returning expression: one row for each day from first to last. -#}
{% macro vbc_each_day(first, last) -%}
  {{ return(adapter.dispatch("vbc_each_day", "vbc_source")(first, last)) }}
{%- endmacro %}

{% macro default__vbc_each_day(first, last) -%}
  cast(generate_series(cast({{ first }} as timestamp), cast({{ last }} as timestamp), interval '1 day') as date)
{%- endmacro %}

{% macro duckdb__vbc_each_day(first, last) -%}
  cast(unnest(generate_series(cast({{ first }} as timestamp), cast({{ last }} as timestamp), interval '1 day')) as date)
{%- endmacro %}

{#- The lookback as whole seconds: `vbc_lookback_hours` may be a fraction. -#}
{% macro lookback_seconds() -%}
  {{ (var("vbc_lookback_hours") | float * 3600) | round | int }}
{%- endmacro %}
