{#- Sum of seconds. Adds whole milliseconds: a sum of floats would depend on the order of rows. -#}
{% macro total_seconds(seconds) -%}
  cast(coalesce(sum({{ vbc_source.milliseconds(seconds) }}), 0) as {{ vbc_source.type_double() }}) / 1000
{%- endmacro %}

{% macro milliseconds(seconds) -%}
  cast(round({{ seconds }} * 1000) as bigint)
{%- endmacro %}

{#- One of `parts` shares of a whole number. Shares are whole numbers too, and add up to it: the first ones get one more
    if it cannot be divided.

    Args:
        place: Which one, from 1. -#}
{% macro share(whole, parts, place) -%}
  (
    cast(floor(cast({{ whole }} as {{ vbc_source.type_double() }}) / {{ parts }}) as bigint)
    + case when {{ place }} <= mod({{ whole }}, {{ parts }}) then 1 else 0 end
  )
{%- endmacro %}

{#- Interpolated percentile, to a tenth of a millisecond: further digits differ between databases. -#}
{% macro percentile(fraction, seconds) -%}
  {{ return(adapter.dispatch("vbc_percentile", "vbc_source")(fraction, seconds)) }}
{%- endmacro %}

{% macro default__vbc_percentile(fraction, seconds) -%}
  cast(
    cast(percentile_cont({{ fraction }}) within group (order by {{ seconds }}) as decimal(38, 4))
    as {{ vbc_source.type_double() }}
  )
{%- endmacro %}

{#- BigQuery interpolates in window functions only; its quantiles are approximate. -#}
{% macro bigquery__vbc_percentile(fraction, seconds) -%}
  round(approx_quantiles({{ seconds }}, 1000)[offset({{ (fraction * 1000) | int }})], 4)
{%- endmacro %}

{#- Whether a text has a part that matches a regular expression. -#}
{% macro matches(text, pattern) -%}
  {{ return(adapter.dispatch("vbc_matches", "vbc_source")(text, pattern)) }}
{%- endmacro %}

{% macro default__vbc_matches(text, pattern) -%}
  {{ text }} ~ '{{ pattern }}'
{%- endmacro %}

{#- DuckDB's operator wants the whole text to match. -#}
{% macro duckdb__vbc_matches(text, pattern) -%}
  regexp_matches({{ text }}, '{{ pattern }}')
{%- endmacro %}

{% macro snowflake__vbc_matches(text, pattern) -%}
  regexp_instr({{ text }}, '{{ pattern }}') > 0
{%- endmacro %}

{% macro bigquery__vbc_matches(text, pattern) -%}
  regexp_contains({{ text }}, r'{{ pattern }}')
{%- endmacro %}

{#- Whether two values differ, with null equal to null. -#}
{% macro differs(left, right) -%}
  {{ return(adapter.dispatch("vbc_differs", "vbc_source")(left, right)) }}
{%- endmacro %}

{% macro default__vbc_differs(left, right) -%}
  {{ left }} is distinct from {{ right }}
{%- endmacro %}

{% macro redshift__vbc_differs(left, right) -%}
  ({{ left }} <> {{ right }} or ({{ left }} is null and {{ right }} is not null) or ({{ left }} is not null and {{ right }} is null))
{%- endmacro %}

{#- A length or a size: a whole number of at most 15 digits, else null. Longer ones would not fit into sums, and one of
    them would stop all models. The source keeps values that are no whole number as text in a variant column: read it if
    it is a number, rounded. -#}
{% macro whole_number(column, variant) -%}
  coalesce(
    case when {{ column }} between 0 and 999999999999999 then {{ column }} end,
    case
      when {{ vbc_source.matches(variant, "^[0-9]{1,15}([.][0-9]{1,9})?$") }}
        then cast(round(cast({{ variant }} as {{ vbc_source.type_decimal() }})) as bigint)
    end
  )
{%- endmacro %}
