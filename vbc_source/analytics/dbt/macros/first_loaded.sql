{#- When each of some recordings was first read: by the earliest proven reading of its start, once its call had ended.
    Nearly always that is the list's next reading of all, which takes no join of every recording with every reading.

    Args:
        recordings: name of the rows, with recording_key, account_id, recording_type, user_id, started_at, ended_at. -#}
{% macro first_loaded(recordings) -%}
with windows as materialized (
    select * from {{ ref('stg_scan_windows') }}
),

wanted as materialized (
    select
        recording_key, account_id, recording_type, coalesce(user_id, '') as user_id, started_at,
        {{ vbc_source.local_day('started_at') }} as day, coalesce(ended_at, started_at) as ready_at
    from {{ recordings }}
    where started_at is not null
),

moments as (
    select account_id, recording_type, user_id, ready_at as moment, recording_key, started_at, day,
        cast(null as timestamp with time zone) as scanned_at
    from wanted
    union all
    select distinct account_id, recording_type, user_id, scanned_at, cast(null as text),
        cast(null as timestamp with time zone), cast(null as date), scanned_at
    from windows
),

next_readings as materialized (
    -- backwards in time, so that the next reading is the last one seen
    select
        account_id, recording_type, user_id, recording_key, started_at, day,
        min(scanned_at) over (
            partition by account_id, recording_type, user_id order by moment desc, scanned_at nulls last
            rows between unbounded preceding and current row
        ) as scanned_at
    from moments
),

quickly_found as materialized (
    select distinct next_readings.recording_key, next_readings.scanned_at as first_loaded_at
    from next_readings
    inner join windows
        on windows.account_id = next_readings.account_id and windows.recording_type = next_readings.recording_type
        and windows.user_id = next_readings.user_id and windows.day = next_readings.day
        and windows.scanned_at = next_readings.scanned_at
        and next_readings.started_at >= windows.window_start and next_readings.started_at < windows.window_end
    where next_readings.recording_key is not null
),

others as materialized (
    select * from wanted
    where not exists (select 1 from quickly_found where quickly_found.recording_key = wanted.recording_key)
)

select recording_key, first_loaded_at from quickly_found
union all
select
    others.recording_key,
    -- clocks differ: read before it ended by ours
    coalesce(
        min(case when windows.scanned_at >= others.ready_at then windows.scanned_at end), min(windows.scanned_at)
    ) as first_loaded_at
from others
inner join windows
    on windows.account_id = others.account_id and windows.recording_type = others.recording_type
    and windows.user_id = others.user_id and windows.day = others.day
    and others.started_at >= windows.window_start and others.started_at < windows.window_end
group by others.recording_key
{%- endmacro %}
