with buckets as (
    {%- for bucket, from_seconds, to_seconds in [
        ("under 10 s", 0, 10), ("10 to 30 s", 10, 30), ("30 s to 1 min", 30, 60), ("1 to 2 min", 60, 120),
        ("2 to 5 min", 120, 300), ("5 to 10 min", 300, 600), ("10 to 30 min", 600, 1800),
        ("30 min to 1 h", 1800, 3600), ("1 h and more", 3600, "null"), ("unknown", "null", "null"),
    ] %}
    {{ "union all " if not loop.first }}select
        {{ loop.index }} as bucket_order, '{{ bucket }}' as bucket,
        cast({{ from_seconds }} as integer) as from_seconds, cast({{ to_seconds }} as integer) as to_seconds
    {%- endfor %}
)

select
    buckets.bucket,
    buckets.bucket_order,
    buckets.from_seconds,
    buckets.to_seconds,
    count(recordings.recording_key) as recordings,
    {{ vbc_source.total_seconds('recordings.duration_seconds') }} as total_seconds
from buckets
left join {{ ref('vbc_source', 'vbc__recordings') }} as recordings
    on (
        recordings.duration_seconds >= buckets.from_seconds
        and (buckets.to_seconds is null or recordings.duration_seconds < buckets.to_seconds)
    )
    or (buckets.from_seconds is null and recordings.duration_seconds is null)
group by 1, 2, 3, 4
