{#- Recordings and the rules that made them, once each. -#}
{%- set columns = {
    "account_id": "text", "user_id": "text", "recording_id": "bigint", "rule_id": "bigint",
} -%}
with listed as (
    select 'company' as recording_type, company.*
    from ({{ vbc_source.raw('company_recordings__rule_ids', columns) }}) as company
    union all
    select 'user' as recording_type, own.*
    from ({{ vbc_source.raw('user_recordings__rule_ids', columns) }}) as own
)

select distinct {{ vbc_source.recording_key('listed') }} as recording_key, rule_id
from listed
where rule_id is not null
