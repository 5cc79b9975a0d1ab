{%- set gap_columns = {
    "account_id": "text", "call_id": "text", "class": "text", "closed_at": "instant",
} -%}
{%- set recording_columns = {"account_id": "text", "call_id": "text"} -%}
with recorded as (
    -- of the loaded tables: recordings that are gone at VBC were made, too
    select distinct account_id, call_id
    from (
        select account_id, call_id from ({{ vbc_source.raw('company_recordings', recording_columns) }}) as company
        union all
        select account_id, call_id from ({{ vbc_source.raw('user_recordings', recording_columns) }}) as own
    ) as recordings
),

missing as (
    select distinct account_id, call_id
    from ({{ vbc_source.raw('call_gaps', gap_columns) }}) as gaps
    where class = 'missing' and closed_at is null
),

counted as (
    select
        {{ vbc_source.local_day('calls.started_at') }} as day,
        calls.account_id,
        coalesce(calls.direction, 'Unknown') as direction,
        coalesce(calls.user_name, '') as user_name,
        count(*) as calls,
        -- whatever the log says of a call with a recording: else the share could exceed 1, and hide calls without one
        count(case when calls.is_answered or recorded.call_id is not null then 1 end) as answered,
        count(recorded.call_id) as recorded,
        count(missing.call_id) as missing
    from {{ ref('vbc_source', 'stg_vbc__call_log') }} as calls
    left join recorded on recorded.account_id = calls.account_id and recorded.call_id = calls.call_id
    left join missing on missing.account_id = calls.account_id and missing.call_id = calls.call_id
    where calls.started_at is not null
    group by 1, 2, 3, 4
)

select
    day,
    account_id,
    direction,
    user_name,
    calls,
    answered,
    recorded,
    case when answered > 0 then cast(recorded as {{ vbc_source.type_double() }}) / answered end as recorded_share,
    missing
from counted
