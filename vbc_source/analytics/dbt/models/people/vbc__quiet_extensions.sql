with recorded as (
    select used.extension_key, count(*) as recordings, max(recordings.started_at) as last_recorded_at
    from {{ ref('vbc_source', 'vbc__recording_extensions') }} as used
    inner join {{ ref('vbc_source', 'vbc__recordings') }} as recordings on recordings.recording_key = used.recording_key
    group by 1
),

aged as (
    select
        known.*, coalesce(recorded.recordings, 0) as recordings, recorded.last_recorded_at, clock.as_of,
        {{ vbc_source.days_between(vbc_source.local_day('recorded.last_recorded_at'), 'clock.as_of_day') }} as quiet_days
    from {{ ref('vbc_source', 'vbc__extensions') }} as known
    cross join {{ ref('vbc_source', 'stg_vbc__as_of') }} as clock
    left join recorded on recorded.extension_key = known.extension_key
    where known.is_current
)

select extension_key, account_id, extension, user_id, user_name, recordings, last_recorded_at, quiet_days, as_of
from aged
where quiet_days is null or quiet_days >= {{ var("vbc_quiet_days") | int }}
