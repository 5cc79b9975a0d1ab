{#- When each recording was first read: by the earliest proven reading of its start, once its call had ended.
    Nearly always that is the list's next reading of all, which takes no join of every recording with every reading. -#}
with recordings as (
    select
        recording_key, account_id, recording_type, coalesce(user_id, '') as user_id, started_at,
        {{ vbc_source.local_day('started_at') }} as day, coalesce(ended_at, started_at) as ready_at
    from {{ ref('stg_recordings') }}
    where started_at is not null
),

windows as (
    select * from {{ ref('stg_scan_windows') }}
),

moments as (
    select account_id, recording_type, user_id, ready_at as moment, recording_key, cast(null as timestamp with time zone) as scanned_at
    from recordings
    union all
    select distinct account_id, recording_type, user_id, scanned_at, cast(null as text), scanned_at
    from windows
),

next_readings as (
    select
        recording_key,
        min(scanned_at) over (
            partition by account_id, recording_type, user_id order by moment, scanned_at nulls first
            rows between current row and unbounded following
        ) as scanned_at
    from moments
),

quickly_found as (
    select distinct recordings.recording_key, windows.scanned_at as first_loaded_at
    from recordings
    inner join next_readings on next_readings.recording_key = recordings.recording_key
    inner join windows
        on windows.account_id = recordings.account_id and windows.recording_type = recordings.recording_type
        and windows.user_id = recordings.user_id and windows.day = recordings.day
        and windows.scanned_at = next_readings.scanned_at
        and recordings.started_at >= windows.window_start and recordings.started_at < windows.window_end
)

select recording_key, first_loaded_at from quickly_found
union all
select
    recordings.recording_key,
    coalesce(
        min(case when windows.scanned_at >= recordings.ready_at then windows.scanned_at end), max(windows.scanned_at)
    ) as first_loaded_at
from recordings
inner join windows
    on windows.account_id = recordings.account_id and windows.recording_type = recordings.recording_type
    and windows.user_id = recordings.user_id and windows.day = recordings.day
    and recordings.started_at >= windows.window_start and recordings.started_at < windows.window_end
left join quickly_found on quickly_found.recording_key = recordings.recording_key
where quickly_found.recording_key is null
group by recordings.recording_key
