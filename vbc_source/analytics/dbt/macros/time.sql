{#- An instant of this age of the world. Systems write years such as 1 or 9999 for "no date": as local time they may have
    no year at all, and a month for each year up to now would not fit into the models. -#}
{% macro known_instant(instant) -%}
  case
    when {{ instant }} >= cast('1900-01-01 00:00:00+00' as {{ vbc_source.type_instant() }})
      and {{ instant }} < cast('9000-01-01 00:00:00+00' as {{ vbc_source.type_instant() }})
      then {{ instant }}
  end
{%- endmacro %}

{#- An instant as local time of `vbc_timezone`. -#}
{% macro local_time(instant) -%}
  {{ return(adapter.dispatch("vbc_local_time", "vbc_source")(instant)) }}
{%- endmacro %}

{% macro default__vbc_local_time(instant) -%}
  ({{ instant }} at time zone '{{ var("vbc_timezone") }}')
{%- endmacro %}

{% macro snowflake__vbc_local_time(instant) -%}
  cast(convert_timezone('{{ var("vbc_timezone") }}', {{ instant }}) as timestamp_ntz)
{%- endmacro %}

{% macro bigquery__vbc_local_time(instant) -%}
  datetime({{ instant }}, '{{ var("vbc_timezone") }}')
{%- endmacro %}

{% macro local_day(instant) -%}
  cast({{ vbc_source.local_time(instant) }} as date)
{%- endmacro %}

{#- Weekday of a local time: 1 (Monday) to 7 (Sunday). -#}
{% macro weekday(local_time) -%}
  {{ return(adapter.dispatch("vbc_weekday", "vbc_source")(local_time)) }}
{%- endmacro %}

{% macro default__vbc_weekday(local_time) -%}
  cast(extract(isodow from {{ local_time }}) as integer)
{%- endmacro %}

{% macro redshift__vbc_weekday(local_time) -%}
  mod(cast(extract(dow from {{ local_time }}) as integer) + 6, 7) + 1
{%- endmacro %}

{% macro snowflake__vbc_weekday(local_time) -%}
  cast(dayofweekiso({{ local_time }}) as integer)
{%- endmacro %}

{% macro bigquery__vbc_weekday(local_time) -%}
  mod(extract(dayofweek from {{ local_time }}) + 5, 7) + 1
{%- endmacro %}

{#- The instant at which a day starts. Where clocks go back over midnight there are two: the first one counts. -#}
{% macro day_start(day) -%}
  {%- set midnight = vbc_source.midnight(day) -%}
  {%- set before = vbc_source.add_seconds(midnight, -3600) -%}
  case when {{ vbc_source.local_day(before) }} = {{ day }} then {{ before }} else {{ midnight }} end
{%- endmacro %}

{% macro midnight(day) -%}
  {{ return(adapter.dispatch("vbc_midnight", "vbc_source")(day)) }}
{%- endmacro %}

{% macro default__vbc_midnight(day) -%}
  (cast({{ day }} as timestamp) at time zone '{{ var("vbc_timezone") }}')
{%- endmacro %}

{% macro snowflake__vbc_midnight(day) -%}
  to_timestamp_tz(
    to_varchar(convert_timezone('{{ var("vbc_timezone") }}', 'UTC', cast({{ day }} as timestamp_ntz)), 'YYYY-MM-DD HH24:MI:SS')
    || ' +0000',
    'YYYY-MM-DD HH24:MI:SS TZHTZM'
  )
{%- endmacro %}

{% macro bigquery__vbc_midnight(day) -%}
  timestamp(cast({{ day }} as datetime), '{{ var("vbc_timezone") }}')
{%- endmacro %}

{#- An instant some seconds later. dbt's `dateadd` makes a time without a zone of it in BigQuery. -#}
{% macro add_seconds(instant, seconds) -%}
  {{ return(adapter.dispatch("vbc_add_seconds", "vbc_source")(instant, seconds)) }}
{%- endmacro %}

{% macro default__vbc_add_seconds(instant, seconds) -%}
  ({{ instant }} + interval '1 second' * ({{ seconds }}))
{%- endmacro %}

{% macro snowflake__vbc_add_seconds(instant, seconds) -%}
  dateadd('second', {{ seconds }}, {{ instant }})
{%- endmacro %}

{% macro bigquery__vbc_add_seconds(instant, seconds) -%}
  timestamp_add({{ instant }}, interval {{ seconds }} second)
{%- endmacro %}

{% macro add_days(day, days) -%}
  cast({{ dbt.dateadd("day", days, day) }} as date)
{%- endmacro %}

{% macro days_between(first, last) -%}
  cast({{ dbt.datediff(first, last, "day") }} as bigint)
{%- endmacro %}

{% macro month_start(day) -%}
  cast({{ dbt.date_trunc("month", day) }} as date)
{%- endmacro %}

{#- A query of the rows of a relation, once for each day from first to last, in column `day`. -#}
{% macro each_day(relation, columns, first, last) -%}
  {{ return(adapter.dispatch("vbc_each_day", "vbc_source")(relation, columns, first, last)) }}
{%- endmacro %}

{% macro default__vbc_each_day(relation, columns, first, last) -%}
  select {{ columns }}, {{ vbc_source.add_days(first, "numbers.number") }} as day
  from {{ relation }}
  inner join ({{ vbc_source.numbers() }}) as numbers on numbers.number <= {{ vbc_source.days_between(first, last) }}
{%- endmacro %}

{% macro postgres__vbc_each_day(relation, columns, first, last) -%}
  select
    {{ columns }},
    cast(generate_series(cast({{ first }} as timestamp), cast({{ last }} as timestamp), interval '1 day') as date) as day
  from {{ relation }}
{%- endmacro %}

{% macro duckdb__vbc_each_day(relation, columns, first, last) -%}
  select
    {{ columns }},
    cast(unnest(generate_series(cast({{ first }} as timestamp), cast({{ last }} as timestamp), interval '1 day')) as date) as day
  from {{ relation }}
{%- endmacro %}

{#- dbt would take Postgres' one: Redshift has no generate_series beside tables. -#}
{% macro redshift__vbc_each_day(relation, columns, first, last) -%}
  {{ return(vbc_source.default__vbc_each_day(relation, columns, first, last)) }}
{%- endmacro %}

{#- A query of the numbers 0 to 99999: as days, 270 years. -#}
{% macro numbers() -%}
  {%- set digits -%}
    (select 0 as digit {% for digit in range(1, 10) %}union all select {{ digit }} {% endfor %})
  {%- endset -%}
  select ones.digit + 10 * tens.digit + 100 * hundreds.digit + 1000 * thousands.digit
    + 10000 * ten_thousands.digit as number
  from {{ digits }} as ones
  cross join {{ digits }} as tens
  cross join {{ digits }} as hundreds
  cross join {{ digits }} as thousands
  cross join {{ digits }} as ten_thousands
{%- endmacro %}

{#- The lookback as whole seconds: `vbc_lookback_hours` may be a fraction. -#}
{% macro lookback_seconds() -%}
  {{ (var("vbc_lookback_hours") | float * 3600) | round | int }}
{%- endmacro %}

{% macro months_between(first, last) -%}
  cast({{ dbt.datediff(first, last, "month") }} as bigint)
{%- endmacro %}

{% macro add_months(day, months) -%}
  cast({{ dbt.dateadd("month", months, day) }} as date)
{%- endmacro %}
