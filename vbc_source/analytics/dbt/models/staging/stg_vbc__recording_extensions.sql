{#- Recordings and the extensions that took part in them, once each. -#}
{%- set columns = {
    "account_id": "text", "user_id": "text", "recording_id": "bigint",
    "extension": "text",
} -%}
with listed as (
    select 'company' as recording_type, company.*
    from ({{ vbc_source.raw('company_recordings__extensions', columns) }}) as company
    union all
    select 'user' as recording_type, own.*
    from ({{ vbc_source.raw('user_recordings__extensions', columns) }}) as own
),

keyed as (
    select distinct -- the API may list an extension twice
        {{ vbc_source.recording_key('listed') }} as recording_key, trim(extension) as extension
    from listed
    where trim(extension) <> ''
)

select
    keyed.recording_key,
    keyed.extension,
    recordings.account_id,
    recordings.recording_type,
    recordings.direction,
    recordings.started_at,
    recordings.duration_seconds,
    recordings.archived
from keyed
inner join {{ ref('vbc_source', 'vbc__recordings') }} as recordings on recordings.recording_key = keyed.recording_key
