select
    {{ vbc_source.local_day('started_at') }} as day,
    account_id,
    recording_type,
    direction,
    count(*) as recordings,
    {{ vbc_source.total_seconds('duration_seconds') }} as total_seconds,
    {{ vbc_source.percentile(0.5, 'duration_seconds') }} as median_seconds,
    {{ vbc_source.percentile(0.9, 'duration_seconds') }} as p90_seconds
from {{ ref('vbc_source', 'vbc__recordings') }}
where started_at is not null
group by 1, 2, 3, 4
