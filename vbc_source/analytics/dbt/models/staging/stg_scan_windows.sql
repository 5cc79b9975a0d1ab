{#- Spans that were read and proven complete, one row for each day that a span touches. -#}
{%- set columns = {
    "account_id": "text", "resource": "text", "user_id": "text", "window_start": "timestamp with time zone",
    "window_end": "timestamp with time zone", "scanned_at": "timestamp with time zone", "filters": "text",
} -%}
select
    account_id,
    case resource when 'company_recordings' then 'company' else 'user' end as recording_type,
    case resource when 'company_recordings' then '' else coalesce(user_id, '') end as user_id,
    {{ vbc_source.each_day(vbc_source.local_day('window_start'), vbc_source.local_day('window_end')) }} as day,
    window_start,
    window_end + interval '1 second' as window_end, -- the API counts in seconds, and the last one is inside
    scanned_at,
    filters
from ({{ vbc_source.raw('scan_windows', columns) }}) as scanned
where resource in ('company_recordings', 'user_recordings')
