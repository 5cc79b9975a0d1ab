select
    {{ vbc_source.local_day('recordings.started_at') }} as day,
    recordings.account_id,
    used.extension,
    used.extension_key,
    used.user_id,
    used.user_name,
    count(*) as recordings,
    {{ vbc_source.total_seconds('recordings.duration_seconds') }} as total_seconds,
    {{ vbc_source.percentile(0.5, 'recordings.duration_seconds') }} as median_seconds
from {{ ref('vbc_source', 'vbc__recordings') }} as recordings
inner join {{ ref('vbc_source', 'vbc__recording_extensions') }} as used on used.recording_key = recordings.recording_key
where recordings.started_at is not null
group by 1, 2, 3, 4, 5, 6
