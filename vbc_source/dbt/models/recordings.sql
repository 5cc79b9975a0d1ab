select
    recordings.*,
    archived.recording_key is not null as archived,
    first_loaded.first_loaded_at
from {{ ref('stg_recordings') }} as recordings
left join {{ ref('stg_archived') }} as archived on archived.recording_key = recordings.recording_key
left join {{ ref('stg_first_loaded') }} as first_loaded on first_loaded.recording_key = recordings.recording_key
