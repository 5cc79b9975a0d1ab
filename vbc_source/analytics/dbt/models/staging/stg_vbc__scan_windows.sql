{#- Windows that were read completely by a load that is complete itself, one row for each day that a window touches.
    `settled_end` bounds the part that counts as proven: see `vbc_source/warehouse` for the same rule in Python. -#}
{%- set columns = {
    "account_id": "text", "resource": "text", "user_id": "text", "window_start": "timestamp with time zone",
    "window_end": "timestamp with time zone", "scanned_at": "timestamp with time zone", "filters": "text",
    "_dlt_load_id": "text",
} -%}
{%- set load_columns = {"load_id": "text", "status": "bigint"} -%}
select
    account_id,
    case resource when 'company_recordings' then 'company' else 'user' end as recording_type,
    case resource when 'company_recordings' then '' else coalesce(user_id, '') end as user_id,
    {{ vbc_source.vbc_each_day(vbc_source.local_day('window_start'), vbc_source.local_day('window_end')) }} as day,
    window_start,
    window_end + interval '1 second' as window_end, -- the API counts in seconds and includes the last one
    -- a call that started before the reading may end, and be listed, after it: only what was older than the lookback counts
    least(
        window_end + interval '1 second',
        date_trunc('second', scanned_at - interval '1 second' * {{ vbc_source.lookback_seconds() }})
    ) as settled_end,
    scanned_at,
    filters
from ({{ vbc_source.raw('scan_windows', columns) }}) as scanned
where resource in ('company_recordings', 'user_recordings')
    -- the rows of a load that failed or was rolled back are not in the tables, or not all of them
    and _dlt_load_id in (
        select load_id from ({{ vbc_source.raw('_dlt_loads', load_columns) }}) as loads where status = 0
    )
