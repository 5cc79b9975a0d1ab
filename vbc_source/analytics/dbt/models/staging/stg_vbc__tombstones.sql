{#- Recordings that are gone at VBC and have not returned. -#}
{%- set columns = {
    "account_id": "text", "recording_type": "text", "user_id": "text", "recording_id": "bigint",
    "returned_at": "instant",
} -%}
select distinct {{ vbc_source.recording_key('gone') }} as recording_key
from ({{ vbc_source.raw('recording_tombstones', columns) }}) as gone
where returned_at is null
