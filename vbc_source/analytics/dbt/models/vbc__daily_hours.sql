select
    {{ vbc_source.local_day('started_at') }} as day,
    cast(extract(hour from {{ vbc_source.local_time('started_at') }}) as integer) as hour,
    account_id,
    recording_type,
    direction,
    count(*) as recordings,
    cast(sum(case when archived then 1 else 0 end) as bigint) as archived,
    {{ vbc_source.total_seconds('duration_seconds') }} as total_seconds
from {{ ref('vbc_source', 'vbc__recordings') }}
where started_at is not null
group by 1, 2, 3, 4, 5
