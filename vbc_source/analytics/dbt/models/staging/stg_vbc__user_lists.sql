{#- Users whose own recordings have to be read, and until when. -#}
{%- set user_columns = {"account_id": "text", "id": "text", "gone_at": "instant"} -%}
{%- set access_columns = {
    "account_id": "text", "resource": "text", "user_id": "text", "access": "text", "noted_at": "instant",
} -%}
with lists as (
    select account_id, id as user_id, gone_at from ({{ vbc_source.raw('users', user_columns) }}) as users
    union all
    select account_id, user_id, noted_at
    from ({{ vbc_source.raw('user_access', access_columns) }}) as refused
    where resource = 'user_recordings' and access = 'not_found'
    union all
    select distinct account_id, user_id, cast(null as {{ vbc_source.type_instant() }})
    from {{ ref('vbc_source', 'stg_vbc__scan_windows') }}
    where recording_type = 'user' and filters is null
)

select account_id, user_id, min(gone_at) as gone_at from lists group by 1, 2
