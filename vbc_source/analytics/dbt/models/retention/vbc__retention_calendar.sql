{%- set periods = [("vbc", var("vbc_retention_days")), ("policy", var("vbc_policy_days"))] -%}
{%- set holds = var("vbc_holds_relation") -%}
with periods as (
    {%- for name, days in periods %}
    {{ "union all " if not loop.first }}select cast('{{ name }}' as {{ vbc_source.type_text() }}) as expires_by, cast({{ days if days is not none else "null" }} as integer) as days
    {%- endfor %}
),

recordings as (
    select
        account_id, recording_type, coalesce(size_bytes, 0) as size_bytes, archived,
        {{ vbc_source.local_day('started_at') }} as day,
        {% if holds -%}
        case
            when recording_id in (select recording_id from {{ holds }} where recording_id is not null)
                or call_id in (select call_id from {{ holds }} where call_id is not null)
                or (call_id is null and (select count(*) from {{ holds }}) > 0) -- it may be any of them
                then 1
            else 0
        end as held
        {%- else -%}
        0 as held
        {%- endif %}
    from {{ ref('vbc_source', 'vbc__recordings') }}
    where started_at is not null
),

expiring as (
    select
        {{ vbc_source.add_days('recordings.day', 'periods.days') }} as expires_on, periods.expires_by,
        recordings.account_id, recordings.recording_type, recordings.size_bytes, recordings.archived, recordings.held,
        clock.as_of_day
    from recordings
    cross join periods
    cross join {{ ref('vbc_source', 'stg_vbc__as_of') }} as clock
    where periods.days is not null
),

aged as (
    select *, {{ vbc_source.days_between('as_of_day', 'expires_on') }} as days_left from expiring
)

select
    expires_on,
    account_id,
    recording_type,
    expires_by,
    case
        when days_left <= 0 then 0
        {%- for days in [30, 60, 90] %}
        when days_left <= {{ days }} then {{ days }}
        {%- endfor %}
    end as within_days,
    count(*) as recordings,
    cast(sum(size_bytes) as bigint) as size_bytes,
    cast(sum(held) as bigint) as held,
    count(case when not archived then 1 end) as unarchived,
    count(case when not archived and expires_by = 'vbc' then 1 end) as at_risk,
    as_of_day as as_of
from aged
where days_left <= 90
group by 1, 2, 3, 4, 5, 11
