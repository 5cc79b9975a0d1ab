with keyed as (
    select
        *,
        case
            when trim(call_id) <> '' then account_id || '/call/' || trim(call_id)
            else recording_key -- a call of its own
        end as call_key
    from {{ ref('vbc_source', 'vbc__recordings') }}
),

ordered as (
    select
        *,
        row_number() over (
            partition by call_key
            order by case when started_at is null then 1 else 0 end, started_at, recording_type, recording_key
        ) as place
    from keyed
),

taking_part as (
    select keyed.call_key, count(distinct used.extension) as extensions
    from keyed
    inner join {{ ref('vbc_source', 'vbc__recording_extensions') }} as used on used.recording_key = keyed.recording_key
    group by 1
),

grouped as (
    select
        call_key,
        account_id,
        max(nullif(trim(call_id), '')) as call_id,
        max(case when place = 1 then direction end) as direction,
        max(case when place = 1 then caller_number end) as caller_number,
        max(case when place = 1 then caller_name end) as caller_name,
        max(case when place = 1 then dialed_number end) as dialed_number,
        min(started_at) as started_at,
        max(ended_at) as ended_at,
        count(*) as recordings,
        count(case when recording_type = 'user' then 1 end) as user_recordings,
        count(case when archived then 1 end) as archived,
        {{ vbc_source.total_seconds('duration_seconds') }} as total_seconds,
        max(duration_seconds) as longest_seconds
    from ordered
    group by 1, 2
)

select
    grouped.call_key,
    grouped.account_id,
    grouped.call_id,
    grouped.direction,
    grouped.caller_number,
    grouped.caller_name,
    grouped.dialed_number,
    grouped.started_at,
    grouped.ended_at,
    grouped.recordings,
    grouped.user_recordings,
    grouped.archived,
    coalesce(taking_part.extensions, 0) as extensions,
    grouped.total_seconds,
    grouped.longest_seconds
from grouped
left join taking_part on taking_part.call_key = grouped.call_key
