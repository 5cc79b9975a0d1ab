{#- In the order of time: DuckDB then skips the other days where a period is given. -#}
{{ config(
    post_hook="{{ vbc_source.analyze(this) }}",
    indexes=[
        {"columns": ["recording_key", "extension"], "unique": true}, {"columns": ["started_at"]},
    ] if target.type == "postgres" else [],
) }}
select
    used.recording_key,
    used.extension,
    used.account_id,
    used.recording_type,
    used.direction,
    used.started_at,
    used.duration_seconds,
    used.archived,
    known.extension_key,
    known.user_id,
    known.user_name
from {{ ref('vbc_source', 'stg_vbc__recording_extensions') }} as used
left join {{ ref('vbc_source', 'vbc__extensions') }} as known
    on known.account_id = used.account_id and known.extension = used.extension
{% if target.type == 'duckdb' %}order by used.started_at{% endif %}
