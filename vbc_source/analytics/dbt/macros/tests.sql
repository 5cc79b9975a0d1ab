{#- Columns that together are unique. -#}
{% test unique_together(model, columns) %}
select {{ columns | join(", ") }}, count(*) as rows_of_one_key
from {{ model }}
group by {{ columns | join(", ") }}
having count(*) > 1
{% endtest %}

{#- The sum of column `recordings` equals the number of rows of the model `recordings` that match condition `of`. -#}
{% test adds_up(model, of="true") %}
select actual.recordings, expected.recordings as expected
from (select coalesce(sum(recordings), 0) as recordings from {{ model }}) as actual
cross join (select count(*) as recordings from {{ ref('vbc_source', 'vbc__recordings') }} where {{ of }}) as expected
where actual.recordings <> expected.recordings
{% endtest %}

{#- Every extension of a recording is in the model `extensions`, under the recording's account. -#}
{% test extensions_are_known(model) %}
select recordings.account_id, used.extension
from {{ ref('vbc_source', 'vbc__recording_extensions') }} as used
inner join {{ ref('vbc_source', 'vbc__recordings') }} as recordings on recordings.recording_key = used.recording_key
left join {{ model }} as known
    on known.account_id = recordings.account_id and known.extension = used.extension
where known.extension is null
{% endtest %}

{#- Shares of recordings and of their length add up to those of `daily_directions`, by day, account and type. -#}
{% test shares_add_up(model) %}
with shared as (
    select
        day, account_id, recording_type, round(sum(shared_recordings) * 1000000) as recordings,
        round(sum(shared_seconds) * 1000) as milliseconds
    from {{ model }}
    group by 1, 2, 3
),

whole as (
    select
        day, account_id, recording_type, sum(recordings) * 1000000 as recordings, round(sum(total_seconds) * 1000) as milliseconds
    from {{ ref('vbc_source', 'vbc__daily_directions') }}
    group by 1, 2, 3
)

select whole.day, whole.account_id, whole.recording_type
from whole
full join shared
    on shared.day = whole.day and shared.account_id = whole.account_id and shared.recording_type = whole.recording_type
where shared.recordings is null or whole.recordings is null
    or shared.recordings <> whole.recordings or shared.milliseconds <> whole.milliseconds
{% endtest %}
