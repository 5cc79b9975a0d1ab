{%- set user_columns = {
    "account_id": "text", "id": "text", "first_name": "text", "last_name": "text", "login_name": "text", "email": "text",
    "gone_at": "instant",
} -%}
{%- set extension_columns = {
    "account_id": "text", "user_id": "text", "user_first_name": "text", "user_last_name": "text",
    "user_login_name": "text", "user_email": "text", "gone_at": "instant",
} -%}
with known as (
    -- first the list of users, then the list of extensions, then owners of recordings
    select
        account_id, id as user_id, gone_at, 1 as rank_of_source,
        {{ vbc_source.person('first_name', 'last_name', 'login_name', 'email') }} as user_name
    from ({{ vbc_source.raw('users', user_columns) }}) as listed
    union all
    select
        account_id, user_id, gone_at, 2,
        {{ vbc_source.person('user_first_name', 'user_last_name', 'user_login_name', 'user_email') }}
    from ({{ vbc_source.raw('extensions', extension_columns) }}) as listed
    where user_id is not null
    union all
    select distinct account_id, user_id, cast(null as {{ vbc_source.type_instant() }}), 3, null
    from {{ ref('vbc_source', 'vbc__recordings') }}
    where user_id is not null
    union all
    select distinct account_id, user_id, cast(null as {{ vbc_source.type_instant() }}), 3, null
    from {{ ref('vbc_source', 'vbc__extensions') }}
    where user_id is not null
),

people as (
    select
        account_id, user_id,
        coalesce(
            max(case when rank_of_source = 1 then user_name end), max(case when rank_of_source = 2 then user_name end)
        ) as user_name,
        case
            when count(case when rank_of_source = 1 then 1 end) > 0 then max(case when rank_of_source = 1 then gone_at end)
            -- of several extensions, one that is listed is enough
            when count(case when rank_of_source = 2 and gone_at is null then 1 end) = 0 then max(gone_at)
        end as gone_at
    from known
    group by 1, 2
),

owned as (
    select account_id, user_id, count(*) as extensions
    from {{ ref('vbc_source', 'vbc__extensions') }}
    where user_id is not null
    group by 1, 2
),

recorded as (
    select
        taken.account_id, taken.user_id, count(distinct taken.recording_key) as recordings,
        max(recordings.started_at) as last_recorded_at
    from {{ ref('vbc_source', 'stg_vbc__participants') }} as taken
    inner join {{ ref('vbc_source', 'vbc__recordings') }} as recordings on recordings.recording_key = taken.recording_key
    where taken.user_id is not null
    group by 1, 2
)

select
    people.account_id || '/' || people.user_id as user_key,
    people.account_id,
    people.user_id,
    people.user_name,
    people.gone_at,
    coalesce(owned.extensions, 0) as extensions,
    coalesce(recorded.recordings, 0) as recordings,
    recorded.last_recorded_at
from people
left join owned on owned.account_id = people.account_id and owned.user_id = people.user_id
left join recorded on recorded.account_id = people.account_id and recorded.user_id = people.user_id
