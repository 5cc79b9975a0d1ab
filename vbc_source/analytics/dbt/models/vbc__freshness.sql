{#- Up to which load the models were built. It is built last, and skipped where another model fails: then the row of the
    last complete build stays. What was loaded while the models were built does not count, since they may lack it:
    `vbc models run` passes what it found before it started; elsewhere, loads that end after the start of the run are
    left out. -#}
-- depends_on: {{ ref('vbc_source', 'vbc__audio_differences') }}
-- depends_on: {{ ref('vbc_source', 'vbc__call_coverage') }}
-- depends_on: {{ ref('vbc_source', 'vbc__callers') }}
-- depends_on: {{ ref('vbc_source', 'vbc__calls') }}
-- depends_on: {{ ref('vbc_source', 'vbc__coverage') }}
-- depends_on: {{ ref('vbc_source', 'vbc__daily_directions') }}
-- depends_on: {{ ref('vbc_source', 'vbc__daily_extensions') }}
-- depends_on: {{ ref('vbc_source', 'vbc__daily_hours') }}
-- depends_on: {{ ref('vbc_source', 'vbc__daily_rules') }}
-- depends_on: {{ ref('vbc_source', 'vbc__daily_users') }}
-- depends_on: {{ ref('vbc_source', 'vbc__days') }}
-- depends_on: {{ ref('vbc_source', 'vbc__duration_buckets') }}
-- depends_on: {{ ref('vbc_source', 'vbc__extensions') }}
-- depends_on: {{ ref('vbc_source', 'vbc__quiet_extensions') }}
-- depends_on: {{ ref('vbc_source', 'vbc__recording_extensions') }}
-- depends_on: {{ ref('vbc_source', 'vbc__recordings') }}
-- depends_on: {{ ref('vbc_source', 'vbc__retention_calendar') }}
-- depends_on: {{ ref('vbc_source', 'vbc__storage') }}
-- depends_on: {{ ref('vbc_source', 'vbc__users') }}
-- depends_on: {{ ref('vbc_source', 'vbc__weekly_hours') }}
{%- set load_columns = {"status": "bigint", "inserted_at": "instant"} -%}
{%- set began = "cast('" ~ run_started_at.isoformat() ~ "' as " ~ vbc_source.type_instant() ~ ")" -%}
{%- set loads, loaded_at = var("vbc_loads", none), var("vbc_loaded_at", none) %}
with loads as (
    select count(*) as loads, max(inserted_at) as loaded_at
    from ({{ vbc_source.raw('_dlt_loads', load_columns) }}) as complete
    where status = 0 and inserted_at <= {{ began }}
),

loaded as (
    select count(*) as recordings
    from (
        select account_id from ({{ vbc_source.raw('company_recordings', {"account_id": "text"}) }}) as company
        union all
        select account_id from ({{ vbc_source.raw('user_recordings', {"account_id": "text"}) }}) as users
    ) as recordings
)

select
    {{ began }} as built_at,
    {% if loaded_at is none %}loads.loaded_at{% else %}cast('{{ loaded_at }}' as {{ vbc_source.type_instant() }}){% endif %} as loaded_at,
    {% if loads is none %}loads.loads{% else %}cast({{ loads }} as {{ dbt.type_bigint() }}){% endif %} as loads,
    loaded.recordings
from loads
cross join loaded
