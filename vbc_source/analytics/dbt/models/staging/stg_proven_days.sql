{#- Of each list and day, since when it is proven complete: every moment of the day lies in a span that was read
    then or later. Without filters, which leave recordings out. -#}
with pieces as (
    select
        account_id, recording_type, user_id, day, scanned_at, {{ vbc_source.day_start('day') }} as day_start,
        {{ vbc_source.day_start("cast(day + interval '1 day' as date)") }} as day_end, window_start, window_end
    from {{ ref('stg_scan_windows') }}
    where filters is null
),

summaries as (
    select
        account_id, recording_type, user_id, day, day_start, day_end,
        max(case when window_start <= day_start and window_end >= day_end then scanned_at end) as whole_at,
        max(case when window_start <= day_start then scanned_at end) as begun_at,
        max(case when window_end >= day_end then scanned_at end) as ended_at
    from pieces
    group by 1, 2, 3, 4, 5, 6
),

-- days whose latest proof may be one of several pieces together: few, so each piece may be laid beside each
pieced as (
    select *
    from summaries
    where least(begun_at, ended_at) > coalesce(whole_at, cast('-infinity' as timestamp with time zone))
        and begun_at is not null and ended_at is not null
),

cuts as (
    select pieces.account_id, pieces.recording_type, pieces.user_id, pieces.day, greatest(pieces.window_start, pieced.day_start) as cut
    from pieced inner join pieces using (account_id, recording_type, user_id, day)
    union
    select pieces.account_id, pieces.recording_type, pieces.user_id, pieces.day, least(pieces.window_end, pieced.day_end)
    from pieced inner join pieces using (account_id, recording_type, user_id, day)
),

slices as (
    select *, lead(cut) over (partition by account_id, recording_type, user_id, day order by cut) as next_cut
    from cuts
),

slice_proofs as (
    select slices.account_id, slices.recording_type, slices.user_id, slices.day, slices.cut, max(pieces.scanned_at) as scanned_at
    from slices
    left join pieces
        on pieces.account_id = slices.account_id and pieces.recording_type = slices.recording_type
        and pieces.user_id = slices.user_id and pieces.day = slices.day
        and pieces.window_start <= slices.cut and pieces.window_end >= slices.next_cut
    where slices.next_cut is not null
    group by 1, 2, 3, 4, 5
),

pieced_proofs as (
    -- a slice that nobody read leaves the day unproven
    select account_id, recording_type, user_id, day, case when count(*) = count(scanned_at) then min(scanned_at) end as proven_at
    from slice_proofs
    group by 1, 2, 3, 4
)

select
    account_id, recording_type, user_id, day, summaries.day_start,
    coalesce(greatest(pieced_proofs.proven_at, summaries.whole_at), summaries.whole_at) as proven_at
from summaries
left join pieced_proofs using (account_id, recording_type, user_id, day)
