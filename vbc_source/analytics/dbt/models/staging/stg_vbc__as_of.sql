{#- The instant that models about age count from: the latest reading by a complete load, else the latest recording. It
    is no clock: without a new load, models stay the same. One row. -#}
{%- set columns = {"scanned_at": "instant", "_dlt_load_id": "text"} -%}
{%- set load_columns = {"load_id": "text", "status": "bigint"} -%}
with latest as (
    select
        coalesce(
            (
                select max(scanned_at) from ({{ vbc_source.raw('scan_windows', columns) }}) as windows
                where _dlt_load_id in (
                    select load_id from ({{ vbc_source.raw('_dlt_loads', load_columns) }}) as loads where status = 0
                )
            ),
            (select max(started_at) from {{ ref('vbc_source', 'vbc__recordings') }})
        ) as as_of
)

select as_of, {{ vbc_source.local_day('as_of') }} as as_of_day from latest
