{%- set tolerance_seconds = 10 -%} {#- that of `vbc reconcile` -#}
{%- set columns = {
    "account_id": "text", "recording_type": "text", "user_id": "text", "recording_id": "bigint", "status": "text",
    "version": "bigint", "fetched_at": "instant", "audio_duration": "bigint", "uri": "text",
} -%}
with stored as (
    select
        {{ vbc_source.recording_key('audio') }} as recording_key, uri, audio_duration,
        row_number() over (
            partition by account_id, recording_type, user_id, recording_id
            order by coalesce(version, 1) desc, fetched_at desc
        ) as place
    from ({{ vbc_source.raw('recording_audio', columns) }}) as audio
    where status = 'stored'
),

measured as (
    select
        recordings.*, stored.uri,
        cast(stored.audio_duration as {{ vbc_source.type_double() }}) / 1000 as audio_seconds
    from {{ ref('vbc_source', 'vbc__recordings') }} as recordings
    inner join stored on stored.recording_key = recordings.recording_key and stored.place = 1
    where stored.audio_duration is not null and recordings.duration_seconds is not null
)

select
    recording_key,
    account_id,
    recording_type,
    recording_id,
    call_id,
    started_at,
    duration_seconds,
    audio_seconds,
    audio_seconds - duration_seconds as difference_seconds,
    uri
from measured
where abs(audio_seconds - duration_seconds) > {{ tolerance_seconds }}
