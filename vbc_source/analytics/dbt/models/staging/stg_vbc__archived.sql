{#- Recordings whose audio file is stored. -#}
{%- set columns = {
    "account_id": "text", "recording_type": "text", "user_id": "text", "recording_id": "bigint", "status": "text",
} -%}
select distinct {{ vbc_source.recording_key('audio') }} as recording_key
from ({{ vbc_source.raw('recording_audio', columns) }}) as audio
where status = 'stored'
