{#- A time spine for metrics: dbt needs one in every project that has metrics. -#}
with bounds as (
    select cast('2010-01-01' as date) as first_day, cast('2034-12-31' as date) as last_day
)

select day from ({{ vbc_source.each_day("bounds", "first_day", "first_day", "last_day") }}) as days
