{{ config(
    post_hook="{{ vbc_source.analyze(this) }}",
    indexes=[{"columns": ["recording_key", "extension"], "unique": true}] if target.type == "postgres" else [],
) }}
{%- set columns = {
    "account_id": "text", "user_id": "text", "recording_id": "bigint", "extension": "text", "is_empty": "boolean",
} -%}
with listed as (
    select 'company' as recording_type, company.*
    from ({{ vbc_source.raw('company_recordings__extensions', columns) }}) as company
    union all
    select 'user' as recording_type, own.*
    from ({{ vbc_source.raw('user_recordings__extensions', columns) }}) as own
)

select distinct recordings.recording_key, trim(listed.extension) as extension -- the API may list an extension twice
from listed
inner join {{ ref('vbc_source', 'vbc__recordings') }} as recordings on recordings.recording_key = {{ vbc_source.recording_key('listed') }}
where trim(listed.extension) <> ''
