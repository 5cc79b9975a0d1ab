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
