{#- Shares are whole milliseconds and whole millionths of a recording, so that they add up exactly. -#}
with shares as (
    select
        {{ vbc_source.local_day('recordings.started_at') }} as day,
        recordings.account_id,
        recordings.recording_type,
        taken.user_id,
        recordings.recording_key,
        {{ vbc_source.share('1000000', 'taken.parts', 'taken.place') }} as millionths,
        {{ vbc_source.share(vbc_source.milliseconds('recordings.duration_seconds'), 'taken.parts', 'taken.place') }}
            as milliseconds
    from {{ ref('vbc_source', 'vbc__recordings') }} as recordings
    inner join {{ ref('vbc_source', 'stg_vbc__participants') }} as taken on taken.recording_key = recordings.recording_key
    where recordings.started_at is not null
),

daily as (
    select
        day, account_id, recording_type, user_id,
        count(distinct recording_key) as recordings,
        cast(sum(millionths) as {{ vbc_source.type_double() }}) / 1000000 as shared_recordings,
        cast(coalesce(sum(milliseconds), 0) as {{ vbc_source.type_double() }}) / 1000 as shared_seconds
    from shares
    group by 1, 2, 3, 4
)

select
    daily.day,
    daily.account_id,
    daily.recording_type,
    users.user_key,
    daily.user_id,
    users.user_name,
    daily.recordings,
    daily.shared_recordings,
    daily.shared_seconds
from daily
left join {{ ref('vbc_source', 'vbc__users') }} as users
    on users.account_id = daily.account_id and users.user_id = daily.user_id
