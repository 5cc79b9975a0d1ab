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
),

counted as (
    select
        case
            {%- for to_seconds in [10, 30, 60, 120, 300, 600, 1800, 3600] %}
            when duration_seconds < {{ to_seconds }} then {{ loop.index }}
            {%- endfor %}
            when duration_seconds is not null then 9
            else 10
        end as bucket_order,
        count(*) as recordings,
        {{ vbc_source.total_seconds('duration_seconds') }} as total_seconds
    from {{ ref('vbc_source', 'vbc__recordings') }}
    group by 1
)

select
    cast(buckets.bucket as {{ vbc_source.type_text() }}) as bucket,
    cast(buckets.bucket_order as integer) as bucket_order,
    buckets.from_seconds,
    buckets.to_seconds,
    coalesce(counted.recordings, 0) as recordings,
    coalesce(counted.total_seconds, 0) as total_seconds
from buckets
left join counted on counted.bucket_order = buckets.bucket_order
