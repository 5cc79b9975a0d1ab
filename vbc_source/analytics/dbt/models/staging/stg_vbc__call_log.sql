{#- Calls from the Reports API, one row each: their legs united, as `vbc reconcile` does. -#}
{%- set columns = {
    "account_id": "text", "id": "text", "direction": "text", "start": "instant",
    "end": "instant", "length": "bigint", "result": "text", "recorded": "boolean",
    "recorded__v_text": "text",
    "source_extension": "text", "source_user": "text", "destination_extension": "text", "destination_user": "text",
} -%}
with legs as (
    select
        account_id, id as call_id, {{ vbc_source.known_instant('started_at') }} as started_at,
        coalesce({{ vbc_source.known_instant('ended_at') }}, {{ vbc_source.known_instant('started_at') }}) as ended_at, length,
        case lower(direction) when 'inbound' then 'Inbound' when 'outbound' then 'Outbound' else direction end
            as direction,
        coalesce(recorded, lower(recorded__v_text) = 'true', false) as is_flagged,
        lower(result) in ('answered', 'connected') or (result is null and length > 0) as is_answered,
        case when lower(direction) = 'outbound' then source_extension else destination_extension end as extension,
        case when lower(direction) = 'outbound' then source_user else destination_user end as user_name
    from ({{ vbc_source.raw('call_logs', columns) }}) as logs
)

select
    account_id,
    call_id,
    min(started_at) as started_at,
    max(ended_at) as ended_at,
    max(length) as longest_leg_seconds,
    max(case when is_flagged then 1 else 0 end) = 1 as is_flagged,
    max(case when is_answered then 1 else 0 end) = 1 as is_answered,
    -- the leg that was recorded counts, else one that was answered
    {%- for name in ("direction", "extension", "user_name") %}
    coalesce(
        min(case when is_flagged then {{ name }} end), min(case when is_answered then {{ name }} end), min({{ name }})
    ) as {{ name }}{{ "," if not loop.last }}
    {%- endfor %}
from legs
group by 1, 2
