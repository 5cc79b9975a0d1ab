{#- Windows that are proven complete, one row for each day that a window touches: the pages add up, the load is complete,
    and the rows that it names are there. `settled_end` bounds the part that counts as proven: see
    `vbc_source/warehouse` for the same rule in Python. -#}
{%- set columns = {
    "account_id": "text", "resource": "text", "user_id": "text", "window_start": "instant",
    "window_end": "instant", "scanned_at": "instant", "filters": "text",
    "rows_loaded": "bigint", "is_proven": "boolean", "_dlt_load_id": "text",
} -%}
{%- set load_columns = {"load_id": "text", "status": "bigint"} -%}
{%- set company_columns = {"account_id": "text", "start": "instant"} -%}
{%- set user_columns = {"account_id": "text", "user_id": "text", "start": "instant"} -%}
{%- set erased_columns = {"account_id": "text", "resource": "text", "user_id": "text", "row_id": "text", "start": "instant"} -%}
with scanned as (
    select
        account_id,
        case resource when 'company_recordings' then 'company' else 'user' end as recording_type,
        case resource when 'company_recordings' then '' else coalesce(user_id, '') end as user_id,
        window_start, window_end, scanned_at, filters, coalesce(rows_loaded, 0) as rows_loaded
    from ({{ vbc_source.raw('scan_windows', columns) }}) as windows
    where resource in ('company_recordings', 'user_recordings')
        and coalesce(is_proven, true) -- else it is a known gap
        and scanned_at <= {{ vbc_source.add_seconds(dbt.current_timestamp(), 300) }} -- else a clock was ahead
        -- the rows of a load that failed or was rolled back are not in the tables, or not all of them
        and _dlt_load_id in (
            select load_id from ({{ vbc_source.raw('_dlt_loads', load_columns) }}) as loads where status = 0
        )
),

moments as (
    -- bounds of windows, and starts of recordings behind a bound of the same instant
    select scanned.*, case edge when 0 then window_start else window_end end as moment, 0 as recordings
    from scanned cross join (select 0 as edge union all select 1 as edge) as edges
    union all
    select account_id, 'company', '', null, null, null, null, null, started_at, 1
    from ({{ vbc_source.raw('company_recordings', company_columns) }}) as company
    where started_at is not null
    union all
    select account_id, 'user', user_id, null, null, null, null, null, started_at, 1
    from ({{ vbc_source.raw('user_recordings', user_columns) }}) as users
    where started_at is not null
    union all
    -- rows that were erased on a person's request count as there
    select account_id, case resource when 'company_recordings' then 'company' else 'user' end, user_id, null, null, null, null, null, max(started_at), 1
    from ({{ vbc_source.raw('erased_recordings', erased_columns) }}) as erased
    where started_at is not null and resource in ('company_recordings', 'user_recordings')
    group by account_id, resource, user_id, row_id
),

counted as (
    select
        *,
        sum(recordings) over (
            partition by account_id, recording_type, user_id order by moment, recordings
            rows between unbounded preceding and current row
        ) as recordings_before
    from moments
),

proofs as (
    -- rows may have been deleted since: a window counts while the table has as many as it brought
    select account_id, recording_type, user_id, window_start, window_end, scanned_at, filters
    from counted
    where window_start is not null
    group by account_id, recording_type, user_id, window_start, window_end, scanned_at, filters, rows_loaded
    having max(recordings_before) - min(recordings_before) >= rows_loaded
),

daily as (
    {{ vbc_source.each_day("proofs", "proofs.*", vbc_source.local_day("window_start"), vbc_source.local_day("window_end")) }}
)

select
    account_id,
    recording_type,
    user_id,
    day,
    window_start,
    {{ vbc_source.add_seconds('window_end', 1) }} as window_end, -- the API counts in seconds and includes the last one
    -- a call that started before the reading may end, and be listed, after it: only what was older than the lookback counts
    least(
        {{ vbc_source.add_seconds('window_end', 1) }},
        {{ dbt.date_trunc('second', vbc_source.add_seconds('scanned_at', -1 * vbc_source.lookback_seconds() | int)) }}
    ) as settled_end,
    scanned_at,
    filters
from daily
