{#- The forecast is the least squares line through the last twelve complete months. -#}
{%- set months = 12 -%}
with sized as (
    select
        {{ vbc_source.month_start(vbc_source.local_day('recordings.started_at')) }} as month,
        recordings.account_id, recordings.size_bytes, recordings.archived, {{ vbc_source.month_start('clock.as_of_day') }} as current_month
    from {{ ref('vbc_source', 'vbc__recordings') }} as recordings
    cross join {{ ref('vbc_source', 'stg_vbc__as_of') }} as clock
    where recordings.started_at is not null
),

counted as (
    select
        month, account_id, count(*) as recordings, cast(coalesce(sum(size_bytes), 0) as bigint) as size_bytes,
        cast(coalesce(sum(case when archived then size_bytes end), 0) as bigint) as archived_bytes
    from sized
    where month <= current_month -- a later one is a wrong date
    group by 1, 2
),

accounts as (
    select
        sized.account_id, min(sized.month) as first_month, max(sized.current_month) as current_month,
        {{ vbc_source.months_between('min(sized.month)', 'max(sized.current_month)') }} as past_months
    from sized
    where sized.month <= sized.current_month
    group by 1
),

timeline as (
    select
        accounts.account_id, accounts.past_months, numbers.number,
        {{ vbc_source.add_months('accounts.first_month', 'numbers.number') }} as month
    from accounts
    inner join ({{ vbc_source.numbers() }}) as numbers on numbers.number <= accounts.past_months + {{ months }}
),

filled as (
    select
        timeline.account_id, timeline.month, timeline.number, timeline.past_months,
        coalesce(counted.recordings, 0) as recordings, coalesce(counted.size_bytes, 0) as size_bytes,
        coalesce(counted.archived_bytes, 0) as archived_bytes,
        timeline.number > timeline.past_months as is_forecast
    from timeline
    left join counted on counted.month = timeline.month and counted.account_id = timeline.account_id
),

sums as (
    select
        account_id, count(*) as n, sum(number) as sum_x, sum(size_bytes) as sum_y, sum(number * number) as sum_xx,
        sum(number * size_bytes) as sum_xy
    from filled
    where number < past_months and number >= past_months - {{ months }}
    group by 1
    having count(*) > 1
),

fitted as (
    select
        account_id,
        cast(n * sum_xy - sum_x * sum_y as {{ vbc_source.type_double() }})
            / cast(n * sum_xx - sum_x * sum_x as {{ vbc_source.type_double() }}) as slope,
        cast(sum_x as {{ vbc_source.type_double() }}) / n as mean_x,
        cast(sum_y as {{ vbc_source.type_double() }}) / n as mean_y
    from sums
),

expected as (
    select
        filled.account_id, filled.month, filled.is_forecast, filled.recordings, filled.archived_bytes,
        case
            when not filled.is_forecast then filled.size_bytes
            -- not round(): of halves, databases make different numbers
            else cast(floor(greatest(fitted.mean_y + fitted.slope * (filled.number - fitted.mean_x), 0) + 0.5) as bigint)
        end as size_bytes
    from filled
    left join fitted on fitted.account_id = filled.account_id
    where not filled.is_forecast or fitted.account_id is not null
)

select
    month,
    account_id,
    is_forecast,
    case when not is_forecast then recordings end as recordings,
    size_bytes,
    case when not is_forecast then archived_bytes end as archived_bytes,
    cast(
        sum(size_bytes) over (partition by account_id order by month rows between unbounded preceding and current row)
        as bigint
    ) as total_bytes
from expected
