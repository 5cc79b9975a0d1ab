with hours as (
    select weekday, hour
    from ({% for weekday in range(1, 8) %}{{ "union all " if not loop.first }}select {{ weekday }} as weekday {% endfor %}) as weekdays
    cross join ({% for hour in range(24) %}{{ "union all " if not loop.first }}select {{ hour }} as hour {% endfor %}) as clock
),

counted as (
    select
        {{ vbc_source.weekday('day') }} as weekday,
        hour,
        cast(sum(recordings) as bigint) as recordings,
        {{ vbc_source.total_seconds('total_seconds') }} as total_seconds
    from {{ ref('vbc_source', 'vbc__daily_hours') }}
    group by 1, 2
)

select
    hours.weekday,
    hours.hour,
    coalesce(counted.recordings, 0) as recordings,
    coalesce(counted.total_seconds, 0) as total_seconds
from hours
left join counted on counted.weekday = hours.weekday and counted.hour = hours.hour
