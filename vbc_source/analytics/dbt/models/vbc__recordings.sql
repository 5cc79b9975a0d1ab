{#- Incremental by comparing all rows, not by a high-water mark: late arrivals, corrections, archiving, tombstones and
    their return have no common timestamp. The result equals a full refresh. A recording that is gone comes out of the
    comparison as a key with nulls: dbt replaces its row by that, and the post-hook deletes it. -#}
{{ config(
    materialized="incremental",
    incremental_strategy="merge" if target.type == "bigquery" else "delete+insert",
    unique_key="recording_key",
    on_schema_change="append_new_columns",
    post_hook=[
        "delete from {{ this }} where account_id is null",
        "{{ vbc_source.index_numbers(this, ['caller_number', 'dialed_number']) }}",
        "{{ vbc_source.analyze(this) }}",
    ],
    indexes=[
        {"columns": ["recording_key"], "unique": true}, {"columns": ["started_at"]}, {"columns": ["call_id"]},
        {"columns": ["recording_id"]},
    ] if target.type == "postgres" else [],
) }}
{%- set columns = [
    "account_id", "recording_type", "recording_id", "user_id", "call_id", "direction", "caller_number", "caller_name",
    "dialed_number", "started_at", "ended_at", "duration_seconds", "size_bytes", "archived",
] -%}
with staged as (
    select recordings.*, archived.recording_key is not null as archived
    from {{ ref('vbc_source', 'stg_vbc__recordings') }} as recordings
    left join {{ ref('vbc_source', 'stg_vbc__archived') }} as archived on archived.recording_key = recordings.recording_key
),

changed as {{ vbc_source.materialized() }} (
    {%- if is_incremental() %}
    select
        coalesce(staged.recording_key, built.recording_key) as recording_key,
        {%- for column in columns %}
        staged.{{ column }}{{ "," if not loop.last }}
        {%- endfor %}
    from staged
    full join {{ this }} as built on built.recording_key = staged.recording_key
    where built.recording_key is null
        or built.first_loaded_at is null
        or built.first_loaded_at < coalesce(built.ended_at, built.started_at) -- a later reading may replace it
        {%- for column in columns %}
        or {{ vbc_source.differs("built." ~ column, "staged." ~ column) }}
        {%- endfor %}
    {%- else %}
    select * from staged
    {%- endif %}
),

first_loaded as (
    {{ vbc_source.first_loaded('changed') }}
)

select
    changed.recording_key,
    {%- for column in columns %}
    changed.{{ column }},
    {%- endfor %}
    first_loaded.first_loaded_at
from changed
left join first_loaded on first_loaded.recording_key = changed.recording_key
