{#- Sum of seconds. Adds whole milliseconds: a sum of floats would depend on the order of rows. -#}
{% macro total_seconds(seconds) -%}
  cast(coalesce(sum(cast(round({{ seconds }} * 1000) as bigint)), 0) as double precision) / 1000
{%- endmacro %}

{#- Interpolated percentile, to a tenth of a millisecond: further digits differ between databases. -#}
{% macro percentile(fraction, seconds) -%}
  cast(cast(percentile_cont({{ fraction }}) within group (order by {{ seconds }}) as decimal(38, 4)) as double precision)
{%- endmacro %}

{#- A whole number. The source keeps other values as text in a variant column: read it if it is a number, rounded. -#}
{% macro whole_number(column, variant) -%}
  coalesce(
    {{ column }},
    case when {{ variant }} ~ '^[0-9]{1,15}([.][0-9]{1,9})?$' then cast(cast({{ variant }} as decimal(30, 9)) as bigint) end
  )
{%- endmacro %}
