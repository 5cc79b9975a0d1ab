{#- When each recording was first loaded: the earliest reading of its start after its call had ended.
    For nearly all it is the next reading of its list, which window functions find: joining every recording with every
    reading of its day would be far slower, so that is done for the remaining ones only.

    Args:
        recordings: Relation with recording_key, account_id, recording_type, user_id, started_at, ended_at. -#}
{% macro first_loaded(recordings) -%}
with windows as {{ vbc_source.materialized() }} (
    select * from {{ ref('vbc_source', 'stg_vbc__scan_windows') }}
),

started as {{ vbc_source.materialized() }} (
    select
        recording_key, account_id, recording_type, coalesce(user_id, '') as user_id, started_at,
        {{ vbc_source.local_day('started_at') }} as day, coalesce(ended_at, started_at) as ready_at
    from {{ recordings }}
    where started_at is not null
),

moments as (
    select account_id, recording_type, user_id, ready_at as moment, recording_key, started_at, day,
        cast(null as {{ vbc_source.type_instant() }}) as scanned_at
    from started
    union all
    select distinct account_id, recording_type, user_id, scanned_at, cast(null as {{ vbc_source.type_text() }}),
        cast(null as {{ vbc_source.type_instant() }}), cast(null as date), scanned_at
    from windows
),

next_readings as {{ vbc_source.materialized() }} (
    -- ordered backwards in time, the next reading is the smallest so far
    select
        account_id, recording_type, user_id, recording_key, started_at, day,
        min(scanned_at) over (
            partition by account_id, recording_type, user_id order by moment desc, scanned_at nulls last
            rows between unbounded preceding and current row
        ) as scanned_at
    from moments
),

matched as {{ vbc_source.materialized() }} (
    select distinct next_readings.recording_key, next_readings.scanned_at as first_loaded_at
    from next_readings
    inner join windows
        on windows.account_id = next_readings.account_id and windows.recording_type = next_readings.recording_type
        and windows.user_id = next_readings.user_id and windows.day = next_readings.day
        and windows.scanned_at = next_readings.scanned_at
        and next_readings.started_at >= windows.window_start and next_readings.started_at < windows.window_end
    where next_readings.recording_key is not null
),

unmatched as {{ vbc_source.materialized() }} (
    select * from started
    where not exists (select 1 from matched where matched.recording_key = started.recording_key)
)

select recording_key, first_loaded_at from matched
union all
select
    unmatched.recording_key,
    -- clocks differ: the gateway may say that a call ended after it was read
    coalesce(
        min(case when windows.scanned_at >= unmatched.ready_at then windows.scanned_at end), min(windows.scanned_at)
    ) as first_loaded_at
from unmatched
inner join windows
    on windows.account_id = unmatched.account_id and windows.recording_type = unmatched.recording_type
    and windows.user_id = unmatched.user_id and windows.day = unmatched.day
    and unmatched.started_at >= windows.window_start and unmatched.started_at < windows.window_end
group by unmatched.recording_key
{%- endmacro %}
