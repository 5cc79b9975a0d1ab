{#- Company and user recordings in one form, without tombstoned ones. -#}
{%- set columns = {
    "account_id": "text", "user_id": "text", "id": "bigint", "call_id": "text", "call_direction": "text",
    "caller_id": "text", "cnam": "text", "dnis": "text", "start": "instant",
    "end": "instant", "duration": "bigint", "duration__v_text": "text",
    "file_size_in_bytes": "bigint", "file_size_in_bytes__v_text": "text",
} -%}
with loaded as (
    select 'company' as recording_type, company.* from ({{ vbc_source.raw('company_recordings', columns) }}) as company
    union all
    select 'user' as recording_type, own.* from ({{ vbc_source.raw('user_recordings', columns) }}) as own
),

named as (
    select
        account_id,
        recording_type,
        id as recording_id,
        case when recording_type = 'user' then user_id end as user_id,
        call_id,
        coalesce(nullif(upper(trim(call_direction)), ''), 'UNKNOWN') as direction,
        caller_id as caller_number,
        cnam as caller_name,
        dnis as dialed_number,
        {{ vbc_source.known_instant('started_at') }} as started_at,
        {{ vbc_source.known_instant('ended_at') }} as ended_at,
        {{ vbc_source.whole_number('duration', 'duration__v_text') }} as milliseconds,
        {{ vbc_source.whole_number('file_size_in_bytes', 'file_size_in_bytes__v_text') }} as size_bytes
    from loaded
)

select
    {{ vbc_source.recording_key('named') }} as recording_key,
    account_id,
    recording_type,
    recording_id,
    user_id,
    call_id,
    direction,
    caller_number,
    caller_name,
    dialed_number,
    started_at,
    ended_at,
    cast(milliseconds as {{ vbc_source.type_double() }}) / 1000 as duration_seconds,
    size_bytes
from named
where not exists (
    select 1 from {{ ref('vbc_source', 'stg_vbc__tombstones') }} as gone where gone.recording_key = {{ vbc_source.recording_key('named') }}
)
