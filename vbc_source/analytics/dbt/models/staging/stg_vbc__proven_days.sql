{#- For each list and day that was read without filters: the latest instant such that every moment of the day lies in
    the settled part of a window that was read then or later. Null where a moment is in no such window. -#}
with windows as (
    select
        account_id, recording_type, user_id, day, window_start, settled_end, scanned_at,
        {{ vbc_source.day_start('day') }} as day_start,
        {{ vbc_source.day_start(vbc_source.add_days("day", 1)) }} as day_end
    from {{ ref('vbc_source', 'stg_vbc__scan_windows') }}
    where filters is null -- filters leave recordings out
),

settled as (
    select
        *,
        max(case when window_start <= day_start then scanned_at end) over (
            partition by account_id, recording_type, user_id, day
        ) as day_start_read_at,
        max(case when settled_end >= day_end then scanned_at end) over (
            partition by account_id, recording_type, user_id, day
        ) as day_end_read_at
    from windows
    where settled_end > window_start and settled_end > day_start
),

bounded as (
    -- no later instant is possible, and for nearly every day this one is the answer
    select *, least(day_start_read_at, day_end_read_at) as latest_at
    from settled
    where day_start_read_at is not null and day_end_read_at is not null
),

chained as (
    select
        *,
        max(settled_end) over (
            partition by account_id, recording_type, user_id, day order by window_start, settled_end
            rows between unbounded preceding and 1 preceding
        ) as reached,
        max(case when scanned_at >= latest_at then settled_end end) over (
            partition by account_id, recording_type, user_id, day order by window_start, settled_end
            rows between unbounded preceding and 1 preceding
        ) as reached_by_latest
    from bounded
),

summaries as (
    select
        account_id, recording_type, user_id, day, latest_at,
        count(case when window_start > reached then 1 end) = 0 as is_covered,
        count(case when scanned_at >= latest_at and window_start > reached_by_latest then 1 end) = 0 as latest_holds
    from chained
    group by 1, 2, 3, 4, 5
),

-- what is left is quadratic in the windows of a day, so it is done for these few days only
others as (
    select bounded.*
    from bounded
    inner join summaries using (account_id, recording_type, user_id, day)
    where summaries.is_covered and not summaries.latest_holds
),

moments as (
    -- the newest reading gets older only where a window ends
    select account_id, recording_type, user_id, day, day_start as moment from others
    union distinct
    select account_id, recording_type, user_id, day, settled_end from others where settled_end < day_end
),

newest_readings as (
    select moments.account_id, moments.recording_type, moments.user_id, moments.day, moments.moment, max(others.scanned_at) as scanned_at
    from moments
    inner join others using (account_id, recording_type, user_id, day)
    where others.window_start <= moments.moment and others.settled_end > moments.moment
    group by 1, 2, 3, 4, 5
),

oldest_of_newest as (
    select account_id, recording_type, user_id, day, min(scanned_at) as proven_at
    from newest_readings
    group by 1, 2, 3, 4
)

select
    read_days.account_id, read_days.recording_type, read_days.user_id, read_days.day,
    case when summaries.latest_holds then summaries.latest_at else oldest_of_newest.proven_at end as proven_at
from (select distinct account_id, recording_type, user_id, day from windows) as read_days
left join summaries using (account_id, recording_type, user_id, day)
left join oldest_of_newest using (account_id, recording_type, user_id, day)
