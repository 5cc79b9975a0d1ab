with proven as (
    select * from {{ ref('vbc_source', 'stg_vbc__proven_days') }}
),

spans as (
    select account_id, recording_type, min(day) as first_day, max(day) as last_day
    from proven
    group by 1, 2
),

days as (
    {{ vbc_source.each_day("spans", "account_id, recording_type", "first_day", "last_day") }}
),

company_days as (
    select account_id, recording_type, day, proven_at from proven where recording_type = 'company'
),

user_days as (
    -- a day of users' own recordings is proven when it is proven for every user of that day
    select
        days.account_id, days.recording_type, days.day,
        case when count(*) = count(proven.proven_at) then min(proven.proven_at) end as proven_at
    from days
    inner join {{ ref('vbc_source', 'stg_vbc__user_lists') }} as lists on lists.account_id = days.account_id
    left join proven
        on proven.account_id = days.account_id and proven.recording_type = days.recording_type
        and proven.user_id = lists.user_id and proven.day = days.day
    where days.recording_type = 'user' and (lists.gone_at is null or lists.gone_at > {{ vbc_source.day_start('days.day') }})
    group by 1, 2, 3
),

proofs as (
    select * from company_days
    union all
    select * from user_days
),

counted as (
    select
        day, account_id, recording_type,
        cast(sum(recordings) as bigint) as recordings, cast(sum(archived) as bigint) as archived
    from {{ ref('vbc_source', 'vbc__daily_hours') }}
    group by 1, 2, 3
),

all_days as (
    select day, account_id, recording_type from days
    union distinct
    select day, account_id, recording_type from counted
)

select
    all_days.day,
    all_days.account_id,
    all_days.recording_type,
    coalesce(counted.recordings, 0) as recordings,
    coalesce(counted.archived, 0) as archived,
    proofs.proven_at
from all_days
left join counted
    on counted.day = all_days.day and counted.account_id = all_days.account_id
    and counted.recording_type = all_days.recording_type
left join proofs
    on proofs.day = all_days.day and proofs.account_id = all_days.account_id
    and proofs.recording_type = all_days.recording_type
