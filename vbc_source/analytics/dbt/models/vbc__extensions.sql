{%- set user_columns = {
    "account_id": "text", "id": "text", "first_name": "text", "last_name": "text", "login_name": "text",
    "email": "text", "gone_at": "instant",
} -%}
{%- set extension_columns = {
    "account_id": "text", "extension": "text", "user_id": "text", "user_first_name": "text", "user_last_name": "text",
    "user_login_name": "text", "user_email": "text", "gone_at": "instant",
} -%}
{%- set user_extension_columns = {
    "account_id": "text", "user_id": "text", "extension": "text", "is_empty": "boolean"
} -%}
with users as (
    select
        account_id, id as user_id, gone_at,
        {{ vbc_source.person('first_name', 'last_name', 'login_name', 'email') }} as user_name
    from ({{ vbc_source.raw('users', user_columns) }}) as listed
),

known as (
    -- first the list of extensions, then the users' lists, then recordings
    select
        account_id, extension, user_id, gone_at, 1 as rank_of_source,
        {{ vbc_source.person('user_first_name', 'user_last_name', 'user_login_name', 'user_email') }} as user_name
    from ({{ vbc_source.raw('extensions', extension_columns) }}) as listed
    where user_id is not null
    union all
    select owned.account_id, owned.extension, owned.user_id, users.gone_at, 2, users.user_name
    from ({{ vbc_source.raw('users__extensions', user_extension_columns) }}) as owned
    left join users on users.account_id = owned.account_id and users.user_id = owned.user_id
    union all
    select account_id, extension, null, gone_at, 3, null
    from ({{ vbc_source.raw('extensions', extension_columns) }}) as listed
    union all
    select distinct account_id, extension, null, cast(null as {{ vbc_source.type_instant() }}), 4, null
    from {{ ref('vbc_source', 'stg_vbc__recording_extensions') }}
),

ranked as (
    select
        account_id, trim(extension) as extension, user_id, user_name,
        row_number() over (
            partition by account_id, trim(extension)
            -- the current user, else the last one
            order by
                case when rank_of_source > 2 then 2 when gone_at is null then 0 else 1 end,
                gone_at desc, rank_of_source, user_id
        ) as place,
        -- listed now; where extensions were never loaded, nothing tells that one is gone
        max(case when rank_of_source < 4 and gone_at is null then 1 else 0 end) over (
            partition by account_id, trim(extension)
        ) as listed,
        max(case when rank_of_source < 4 then 1 else 0 end) over (partition by account_id) as lists_loaded
    from known
    where trim(extension) <> ''
)

select
    ranked.account_id,
    ranked.extension,
    ranked.account_id || '/' || ranked.extension as extension_key,
    ranked.user_id,
    coalesce(ranked.user_name, users.user_name) as user_name,
    ranked.listed = 1 or ranked.lists_loaded = 0 as is_current
from ranked
left join users on users.account_id = ranked.account_id and users.user_id = ranked.user_id
where ranked.place = 1
