{#- Seconds in all: added up as whole milliseconds, so that it does not depend on the order of rows. -#}
{% macro total_seconds(seconds) -%}
  cast(coalesce(sum(cast(round({{ seconds }} * 1000) as bigint)), 0) as double precision) / 1000
{%- endmacro %}

{#- A percentile by interpolation, to a tenth of a millisecond: what comes behind that differs by database. -#}
{% macro percentile(fraction, seconds) -%}
  cast(cast(percentile_cont({{ fraction }}) within group (order by {{ seconds }}) as decimal(38, 4)) as double precision)
{%- endmacro %}

{#- A whole number: where the API gave something else, the source kept it as text; a fraction is rounded. -#}
{% macro whole_number(column, variant) -%}
  coalesce(
    {{ column }},
    case when {{ variant }} ~ '^[0-9]{1,15}([.][0-9]{1,9})?$' then cast(cast({{ variant }} as decimal(30, 9)) as bigint) end
  )
{%- endmacro %}
