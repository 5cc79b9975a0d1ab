with carried as (
    select
        {{ vbc_source.local_day('recordings.started_at') }} as day,
        recordings.account_id, recordings.recording_type, recordings.duration_seconds,
        coalesce(rules.rule_id, -1) as rule_id -- no rule: a value that joins, until the end
    from {{ ref('vbc_source', 'vbc__recordings') }} as recordings
    left join {{ ref('vbc_source', 'stg_vbc__recording_rules') }} as rules on rules.recording_key = recordings.recording_key
    where recordings.started_at is not null
),

counted as (
    select
        day, account_id, recording_type, rule_id, count(*) as recordings,
        {{ vbc_source.total_seconds('duration_seconds') }} as total_seconds
    from carried
    group by 1, 2, 3, 4
),

spans as (
    select counted.account_id, counted.recording_type, counted.rule_id, min(counted.day) as first_day, max(clock.as_of_day) as last_day
    from counted
    cross join {{ ref('vbc_source', 'stg_vbc__as_of') }} as clock
    group by 1, 2, 3
),

days as (
    {{ vbc_source.each_day("spans", "account_id, recording_type, rule_id", "first_day", "last_day") }}
),

all_days as (
    select day, account_id, recording_type, rule_id from days
    union distinct
    select day, account_id, recording_type, rule_id from counted
),

filled as (
    select
        all_days.day, all_days.account_id, all_days.recording_type, nullif(all_days.rule_id, -1) as rule_id,
        coalesce(counted.recordings, 0) as recordings,
        coalesce(counted.total_seconds, 0) as total_seconds,
        max(counted.day) over (
            partition by all_days.account_id, all_days.recording_type, all_days.rule_id order by all_days.day
            rows between unbounded preceding and current row
        ) as last_day
    from all_days
    left join counted
        on counted.day = all_days.day and counted.account_id = all_days.account_id
        and counted.recording_type = all_days.recording_type and counted.rule_id = all_days.rule_id
)

select
    day, account_id, recording_type, rule_id, recordings, total_seconds,
    {{ vbc_source.days_between("last_day", "day") }} as silent_days
from filled
