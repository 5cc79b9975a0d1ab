select
    {{ vbc_source.local_day('started_at') }} as day,
    account_id,
    extension,
    extension_key,
    user_id,
    user_name,
    count(*) as recordings,
    {{ vbc_source.total_seconds('duration_seconds') }} as total_seconds,
    {{ vbc_source.percentile(0.5, 'duration_seconds') }} as median_seconds
from {{ ref('vbc_source', 'vbc__recording_extensions') }}
where started_at is not null
group by 1, 2, 3, 4, 5, 6
