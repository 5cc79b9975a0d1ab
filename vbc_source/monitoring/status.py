"""Read the status of a pipeline: what it has loaded and how its runs ended. VBC is not asked."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

from vbc_source.audio.ledger import LEDGER
from vbc_source.config import CALL_LOGS_TABLE, SELF, VbcConfig, load_config
from vbc_source.dlt_internals import count_pending_packages
from vbc_source.lakes.tables import FILESYSTEM
from vbc_source.load.destinations import Target
from vbc_source.load.failures import DatabaseHeld, explaining
from vbc_source.load.locks import SINGLE_PROCESS, is_pipeline_locked
from vbc_source.load.progress import write_time
from vbc_source.load.run_history import RunHistory, read_run_history
from vbc_source.schema.names import AUDIO_SCHEMA, VERIFY_SCHEMA
from vbc_source.warehouse.audio_checks import CheckStatus, read_check_status
from vbc_source.warehouse.call_gaps import count_open_gaps
from vbc_source.warehouse.completeness import (
    KEYS,
    USER_RECORDINGS,
    ReadProgress,
    read_progress,
    read_proven_spans,
)
from vbc_source.warehouse.queries import LoadedTables, Row
from vbc_source.warehouse.users import read_gone_users, read_listed_users, read_unreadable

_ROWS = "SELECT account_id, count(*) FROM {table} GROUP BY account_id"
# where a destination only appends, the newest row of a recording counts
_AUDIO = f"""
    SELECT status, count(*) FROM (
        SELECT status, row_number() OVER (
            PARTITION BY account_id, recording_type, user_id, recording_id ORDER BY fetched_at DESC
        ) AS newest FROM {LEDGER}
    ) AS a WHERE newest = 1 GROUP BY status"""


@dataclass(frozen=True, slots=True)
class ListStatus:
    """Status of an account's list, or of its users' lists together.

    Attributes:
        account_id: The account.
        resource: `company_recordings`, `user_recordings` or `call_logs`.
        lists: Number of lists that are still read: 1, or one for each user that can be; 0 where none is.
        unreadable: Users whose list may not be read, or is gone.
        last_success: When one of the lists was last read completely.
        read_until: Up to when all of the lists were read by complete loads.
        lag_seconds: How far that is behind now; None where no list is read any more.
        proven_until: Up to when all of the lists are proven complete without a gap, from where each was first
            read; None where that is not known.
        rows: Recordings in the table, or legs of calls.
        rows_read: Rows of all runs; those of the lookback count each time.
        requests: List requests of all runs.
        windows: Windows that were read completely.
        rest_hours: How long a list may wait to be read again, hours; 0 where every run reads all of them.
        oldest_read: When the list was last read that has waited longest; None where none waits.
        never_read: Users whose list is to be read, and was never read completely; `lists` and the lag leave
            them out.
    """

    account_id: str
    resource: str
    lists: int
    unreadable: int
    last_success: datetime
    read_until: datetime
    lag_seconds: float | None
    proven_until: datetime | None
    rows: int
    rows_read: int
    requests: int
    windows: int
    rest_hours: float = 0.0
    oldest_read: datetime | None = None
    never_read: int = 0

    @property
    def noun(self) -> str:
        """What the rows are."""
        return "legs of calls" if self.resource == CALL_LOGS_TABLE else "recordings"


@dataclass(frozen=True, slots=True)
class Status:
    """Status of a pipeline.

    Attributes:
        pipeline: The pipeline's name.
        dataset: The dataset it loads into.
        busy: Whether another process holds the database, so that only `runs` is known.
        lists: What is loaded, by account and resource.
        runs: How the runs on this machine ended.
        pending_packages: Load packages that a failed run left for the next one.
        audio: Number of audio files by their newest status.
        lag_seconds: Lag of the list that is furthest behind; None where nothing was loaded.
        forbidden: Lists of whole accounts that the API user may not read, as `user_access` has them.
        call_gaps: Open gaps between calls and recordings by class; empty where they were never reconciled.
        checks: What `vbc fixity` has found; None where it never ran.
    """

    pipeline: str
    dataset: str
    busy: bool
    lists: tuple[ListStatus, ...]
    runs: RunHistory
    pending_packages: int
    audio: dict[str, int]
    lag_seconds: float | None
    forbidden: tuple[str, ...] = ()
    call_gaps: dict[str, int] = field(default_factory=dict)
    checks: CheckStatus | None = None

    def find_problem(
        self, max_lag: float | None = None, max_lags: Mapping[str, float] | None = None
    ) -> str | None:
        """Return what is wrong, or None: nothing was loaded, or a lag is too large.

        Args:
            max_lag: Largest lag of any resource, minutes.
            max_lags: Largest lag of the resources that it names, minutes, instead of `max_lag`.
        """
        if self.lag_seconds is None:
            return "nothing was ever loaded there: run vbc sync"
        named = max_lags or {}
        for item in self.lists:
            most = named.get(item.resource, max_lag)
            if most is not None and item.lag_seconds is not None and item.lag_seconds > most * 60:
                return (
                    f"the lag of {item.resource} of account {item.account_id} is "
                    f"{write_time(item.lag_seconds)}, which is more than {most:g} minutes"
                )
            if most is not None and item.never_read:
                return (
                    f"{item.never_read:,} list(s) of {item.resource} of account {item.account_id} were never "
                    "read completely: run vbc sync"
                )
        if not any(item.lag_seconds is not None for item in self.lists):
            # another process holds the database, or nothing is read any more
            most = max_lag if max_lag is not None else max(named.values(), default=None)
            if most is not None and self.lag_seconds > most * 60:
                return f"the lag is {write_time(self.lag_seconds)}, which is more than {most:g} minutes"
        elif absent := sorted(set(named) - {item.resource for item in self.lists}):
            return f"{absent[0]} was never loaded there: run vbc sync, or leave its --max-lag out"
        return None

    def summary(self) -> list[str]:
        """Describe the status in lines for people."""
        lines = [f"Pipeline {self.pipeline}, dataset {self.dataset}:"]
        if self.busy:
            lines.append("Another process holds the database; its contents are not known until that ends.")
        for item in self.lists:
            proven = f"{item.proven_until:%Y-%m-%d %H:%M}" if item.proven_until else "not known"
            lag = (
                "not read any more"
                if item.lag_seconds is None
                else f"{write_time(item.lag_seconds)} behind now"
            )
            lines.append(
                f"{item.resource} of account {item.account_id}: {item.rows:,} {item.noun}; last success "
                f"{item.last_success:%Y-%m-%d %H:%M:%S} UTC, {lag}; "
                f"proven complete until {proven}; {item.lists} list(s), {item.unreadable} unreadable"
                f"{f', {item.never_read:,} never read' if item.never_read else ''}; "
                f"{item.requests:,} requests, {item.windows:,} windows so far."
            )
            if item.oldest_read:
                lines.append(
                    f"Users' lists of account {item.account_id} are read at least every "
                    f"{item.rest_hours:g} h; the one that has waited longest was read "
                    f"{item.oldest_read:%Y-%m-%d %H:%M} UTC."
                )
        if self.forbidden:
            lines.append(f"Left out, since the API user may not read them: {', '.join(self.forbidden)}.")
        if self.audio:
            files = ", ".join(f"{count:,} {name}" for name, count in sorted(self.audio.items()))
            lines.append(f"Audio: {files}.")
        if self.checks:
            lines.append(
                f"Files last checked {self.checks.last_check:%Y-%m-%d %H:%M} UTC; "
                f"{self.checks.damaged:,} damaged, missing or unreadable."
            )
        if self.call_gaps:
            gaps = ", ".join(f"{count:,} {name}" for name, count in self.call_gaps.items())
            lines.append(f"Open gaps between calls and recordings: {gaps}.")
        return [*lines, *self._describe_runs()]

    def _describe_runs(self) -> list[str]:
        runs = self.runs
        lines = [f"Runs on this machine: {runs.succeeded} succeeded, {runs.failed} failed."]
        if runs.running:
            lines.append(f"Process {runs.running} has been running since {_write_moment(runs.began)}.")
        if runs.failed_in_a_row:
            lines.append(
                f"{runs.failed_in_a_row} failed since the last successful one, the last at "
                f"{_write_moment(runs.last_failure)}: {runs.last_error}"
            )
        if self.pending_packages:
            lines.append(f"{self.pending_packages} load package(s) wait for the next run.")
        return lines


def _write_moment(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, timezone.utc):%Y-%m-%d %H:%M:%S} UTC"


def read_status(target: Target = Target(), now: datetime | None = None) -> Status:  # noqa: B008 - a frozen value
    """Read the status of a pipeline and its dataset. No request is sent to VBC, and no pipeline is opened.

    Args:
        target: Where the recordings are loaded.
        now: The time to measure the lag against; by default the current time.

    Returns:
        The status; what the destination has no table for is empty.

    Raises:
        VbcError: The destination could not be queried.
    """
    now = now or datetime.now(timezone.utc)
    with explaining():
        config = load_config()
        loaded = LoadedTables(target, (AUDIO_SCHEMA, VERIFY_SCHEMA), watch=False, read_only=True)
    runs = read_run_history(target)
    # a DuckDB file that a sync holds cannot be opened; waiting would keep a monitor from reporting at all
    busy = loaded.kind in SINGLE_PROCESS and (is_pipeline_locked(target.pipeline) or _is_held(loaded))
    lists = () if busy else tuple(_read_lists(loaded, config, now))
    audio = {} if busy else {status: int(files) for status, files in _query(loaded, LEDGER, _AUDIO)}
    lags = [item.lag_seconds for item in lists if item.lag_seconds is not None]
    if lists and not lags:  # nothing of what was loaded is read any more
        lags = [(now - item.read_until).total_seconds() for item in lists]
    # the database cannot be asked: the last run that succeeded is what this machine knows of the lag
    if busy and runs.last_success:
        lags = [now.timestamp() - runs.last_success]
    pending = count_pending_packages(target.pipeline)
    forbidden = () if busy else tuple(_read_forbidden(loaded, config))
    gaps = {} if busy else count_open_gaps(loaded)
    checks = None if busy else read_check_status(loaded, LEDGER)
    lag = max(lags, default=None)
    return Status(
        target.pipeline, target.dataset, busy, lists, runs, pending, audio, lag, forbidden, gaps, checks
    )


def _is_held(loaded: LoadedTables) -> bool:
    """Whether a process that is no run of this pipeline has the database open, such as a SQL shell."""
    try:
        loaded.refresh()
    except DatabaseHeld:
        return True
    return False


def _query(loaded: LoadedTables, table: str, query: str) -> list[Row]:
    return loaded.query(query) if loaded.find(table) else []


def _read_lists(loaded: LoadedTables, config: VbcConfig, now: datetime) -> Iterator[ListStatus]:
    proven = read_proven_spans(loaded, config)
    unreadable, gone = read_unreadable(loaded), read_gone_users(loaded)
    groups: dict[tuple[str, str], list[ReadProgress]] = {}
    for progress in read_progress(loaded, config):
        groups.setdefault((progress.list.account, progress.list.resource), []).append(progress)
    accounts = _choose_accounts(config, [item for lists in groups.values() for item in lists])
    rows = {resource: _count_rows(loaded, resource) for resource in {resource for _, resource in groups}}
    expected = _find_expected_users(loaded, config, accounts, gone)
    for (account, resource), lists in sorted(groups.items()):
        barred = unreadable.get((account, resource), set())
        # a list that may not or should not be read any more is left out, else its lag would grow without end
        live = [
            item
            for item in lists
            if item.list.user not in barred
            and (account, item.list.user) not in gone
            and account in accounts
            and _is_configured(config, item)
        ]
        # where nothing is read any more, what was read last is shown, without a lag
        shown = live or lists
        rests = config.longest_rest and resource == USER_RECORDINGS and live
        read_until = min(item.read_until for item in shown)
        # the end of the first span: what is proven behind a gap says nothing about the gap
        ends = [proven[item.list][0].end if item.list in proven else None for item in shown]
        yield ListStatus(
            account_id=account,
            resource=resource,
            lists=len(live),
            unreadable=len(barred),
            last_success=max(item.read_at for item in lists),
            read_until=read_until,
            # a window that a machine with a fast clock has read ends after now
            lag_seconds=max(0.0, (now - read_until).total_seconds()) if live else None,
            proven_until=None if None in ends else min(end for end in ends if end),
            rows=rows[resource].get(account, 0),
            rows_read=sum(item.rows_read for item in lists),
            requests=sum(item.requests for item in lists),
            windows=sum(item.windows for item in lists),
            rest_hours=config.longest_rest / timedelta(hours=1) if rests else 0.0,
            oldest_read=min(item.read_at for item in shown) if rests else None,
            never_read=len(expected.get(account, set()) - barred - {item.list.user for item in lists})
            if resource == USER_RECORDINGS and account in accounts
            else 0,
        )


def _find_expected_users(
    loaded: LoadedTables, config: VbcConfig, accounts: Iterable[str], gone: Container[tuple[str, str]]
) -> dict[str, set[str]]:
    """Return the users of each account whose lists the settings read, as far as their ids are known."""
    if not config.has_user_recordings:
        return {}
    if config.users is None:
        users = read_listed_users(loaded)
    else:
        users = [(account, user) for account in accounts for user in config.users if user != SELF]
    expected: dict[str, set[str]] = {}
    for account, user in users:
        if (account, user) not in gone:
            expected.setdefault(account, set()).add(user)
    return expected


def _count_rows(loaded: LoadedTables, resource: str) -> dict[str, int]:
    """Count the recordings of each account, each once."""
    # in files, a row stands beside its earlier versions
    table = (
        f"(SELECT DISTINCT {KEYS[resource]} FROM {resource}) AS d" if loaded.kind == FILESYSTEM else resource
    )
    return {account: int(rows) for account, rows in _query(loaded, resource, _ROWS.format(table=table))}


def _choose_accounts(config: VbcConfig, lists: Sequence[ReadProgress]) -> set[str]:
    """Return the accounts that the settings read; of those that they do not name, `self` is the newest."""
    named = {account for account in config.accounts if account != SELF}
    others = [item for item in lists if item.list.account not in named]
    if SELF in config.accounts and others:
        named.add(max(others, key=lambda item: item.read_at).list.account)
    return named


def _is_configured(config: VbcConfig, item: ReadProgress) -> bool:
    """Whether the settings still read a list of an account."""
    if item.list.resource == CALL_LOGS_TABLE:
        return config.call_logs
    if item.list.resource != USER_RECORDINGS:
        return True
    listed = config.users is None or item.list.user in config.users or SELF in config.users
    return config.has_user_recordings and listed


def _read_forbidden(loaded: LoadedTables, config: VbcConfig) -> Iterator[str]:
    """Yield the lists of accounts that may not be read: rows of `user_access` without a user."""
    for (account, resource), users in sorted(read_unreadable(loaded).items()):
        if "" in users and (account in config.accounts or SELF in config.accounts):
            yield f"{resource} of account {account}"
