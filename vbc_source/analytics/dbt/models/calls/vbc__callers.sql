{#- A caller is a number, or its hash. Words such as `Anonymous` have no digit; nothing says that two such calls come from
    the same caller, nor two calls whose number was dropped. -#}
with contacts as (
    select
        account_id, trim(caller_number) as caller_number, caller_name, started_at,
        lag(started_at) over (partition by account_id, trim(caller_number) order by started_at, call_key) as previous_at,
        row_number() over (
            partition by account_id, trim(caller_number)
            order by case when caller_name is null then 1 else 0 end, started_at desc, call_key desc
        ) as place
    from {{ ref('vbc_source', 'vbc__calls') }}
    where direction = 'INBOUND' and started_at is not null
        and {{ vbc_source.matches('caller_number', '[0-9]') }}
        {%- for text in var("vbc_hidden_callers") %}
        and trim(caller_number) <> {{ dbt.string_literal(text) }}
        {%- endfor %}
)

select
    account_id,
    caller_number,
    max(case when place = 1 then caller_name end) as caller_name,
    count(*) as calls,
    count(
        case when started_at <= {{ vbc_source.add_seconds("previous_at", var("vbc_repeat_days") | int * 86400) }} then 1 end
    ) as repeated_calls,
    min(started_at) as first_called_at,
    max(started_at) as last_called_at
from contacts
group by 1, 2
