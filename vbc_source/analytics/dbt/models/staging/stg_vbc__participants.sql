{#- Who took part in a recording: a row for each of its extensions, with the extension's user. A recording without an
    extension has one row: its owner for a user's own recording, nobody for a company recording. `place` of `parts`
    is the share of the recording that the row gets. -#}
with taken as (
    select
        recordings.recording_key, recordings.account_id, used.extension,
        case
            when used.extension is null then recordings.user_id -- the owner; null for company recordings
            else used.user_id
        end as user_id
    from {{ ref('vbc_source', 'vbc__recordings') }} as recordings
    left join {{ ref('vbc_source', 'vbc__recording_extensions') }} as used on used.recording_key = recordings.recording_key
)

select
    *,
    count(*) over (partition by recording_key) as parts,
    row_number() over (partition by recording_key order by extension) as place
from taken
