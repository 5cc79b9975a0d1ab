"""What a pipeline has loaded and how its runs went: from the destination and this machine, not from VBC."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone

from vbc_source.audio.ledger import LEDGER
from vbc_source.config import VbcConfig, load_config
from vbc_source.dlt_internals import count_pending_packages
from vbc_source.load.destinations import Target
from vbc_source.load.failures import explaining
from vbc_source.load.locks import is_locked
from vbc_source.load.run_history import RunHistory, read_run_history
from vbc_source.warehouse.completeness import KEYS, ReadProgress, read_progress, read_proven_spans
from vbc_source.warehouse.queries import SINGLE_PROCESS, LoadedTables, Row

_ACCESS = "SELECT account_id, resource, user_id, access FROM user_access ORDER BY noted_at"
_GONE = "SELECT account_id, id FROM users WHERE gone_at IS NOT NULL"
_ROWS = "SELECT account_id, count(*) FROM (SELECT DISTINCT {key} FROM {table}) AS d GROUP BY account_id"
# where a destination only appends, the newest row of a recording counts
_AUDIO = f"""
    SELECT status, count(*) FROM (
        SELECT status, row_number() OVER (
            PARTITION BY account_id, recording_type, user_id, recording_id ORDER BY fetched_at DESC
        ) AS newest FROM {LEDGER}
    ) AS a WHERE newest = 1 GROUP BY status"""


@dataclass(frozen=True, slots=True)
class ListStatus:
    """What is known of an account's list, or of its users' lists together.

    Attributes:
        account_id: the account.
        resource: `company_recordings` or `user_recordings`.
        lists: how many lists that is: 1, or one for each user that can be read.
        unreadable: users whose list may not be read, or is gone.
        last_success: when one of them was last proven complete.
        read_until: Up to where all of them were read by complete loads.
        lag_seconds: How far that is behind now.
        proven_until: Up to where all of them are proven complete without a gap, from where they were first
            read; None where that is not known.
        rows: recordings in the table.
        rows_read: by all runs together; what the lookback reads again counts again.
        requests: list requests of all runs together.
        windows: how many were proven complete.
    """

    account_id: str
    resource: str
    lists: int
    unreadable: int
    last_success: datetime
    read_until: datetime
    lag_seconds: float
    proven_until: datetime | None
    rows: int
    rows_read: int
    requests: int
    windows: int


@dataclass(frozen=True, slots=True)
class Status:
    """What is known of a pipeline.

    Attributes:
        pipeline: its name.
        dataset: where it loads.
        busy: whether another process holds the database just now, so that only `runs` is known.
        lists: what is loaded, by account and resource.
        runs: how the runs on this machine went.
        pending_packages: what a failed run left for the next one.
        audio: files by what became of them.
        lag_seconds: of the list that is furthest behind; None where nothing was loaded.
    """

    pipeline: str
    dataset: str
    busy: bool
    lists: tuple[ListStatus, ...]
    runs: RunHistory
    pending_packages: int
    audio: dict[str, int]
    lag_seconds: float | None

    def find_problem(self, max_lag: float | None = None) -> str | None:
        """Return what is wrong, or None: nothing was loaded, or the lag is larger than so many minutes."""
        if self.lag_seconds is None:
            return "nothing was ever loaded there: run vbc sync"
        if max_lag is not None and self.lag_seconds > max_lag * 60:
            return f"the lag is {_write_span(self.lag_seconds)}, which is more than {max_lag:g} minutes"
        return None

    def summary(self) -> list[str]:
        """Describe the status in lines for people."""
        lines = [f"Pipeline {self.pipeline}, dataset {self.dataset}:"]
        if self.busy:
            lines.append("Another process works on the database; its contents are not known until that ends.")
        for found in self.lists:
            proven = f"{found.proven_until:%Y-%m-%d %H:%M}" if found.proven_until else "not known"
            lines.append(
                f"{found.resource} of account {found.account_id}: {found.rows:,} recordings; last success "
                f"{found.last_success:%Y-%m-%d %H:%M:%S} UTC, {_write_span(found.lag_seconds)} behind now; "
                f"proven complete until {proven}; {found.lists} list(s), {found.unreadable} unreadable; "
                f"{found.requests:,} requests, {found.windows:,} windows so far."
            )
        if self.audio:
            files = ", ".join(f"{count:,} {name}" for name, count in sorted(self.audio.items()))
            lines.append(f"Audio: {files}.")
        return [*lines, *self._describe_runs()]

    def _describe_runs(self) -> list[str]:
        runs = self.runs
        lines = [f"Runs on this machine: {runs.succeeded} ended well, {runs.failed} failed."]
        if runs.running:
            lines.append(f"Process {runs.running} runs since {_write_moment(runs.began)}.")
        if runs.failed_in_a_row:
            lines.append(
                f"{runs.failed_in_a_row} failed since the last good one, the last at "
                f"{_write_moment(runs.last_failure)}: {runs.last_error}"
            )
        if self.pending_packages:
            lines.append(f"{self.pending_packages} load package(s) wait for the next run.")
        return lines


def _write_moment(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, timezone.utc):%Y-%m-%d %H:%M:%S} UTC"


def _write_span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def read_status(target: Target = Target(), now: datetime | None = None) -> Status:  # noqa: B008 - a frozen value
    """Read what is known of a pipeline and its dataset; no request is sent to VBC, and no pipeline is opened.

    Raises:
        VbcError: The destination could not be queried.
    """
    now = now or datetime.now(timezone.utc)
    with explaining():
        config, loaded = load_config(), LoadedTables(target)
    runs = read_run_history(target.pipeline)
    busy = loaded.kind in SINGLE_PROCESS and is_locked(target.pipeline)
    lists = () if busy else tuple(_read_lists(loaded, config, now))
    audio = {} if busy else {status: int(files) for status, files in _query(loaded, LEDGER, _AUDIO)}
    lags = [found.lag_seconds for found in lists]
    if busy and runs.last_success:
        lags = [now.timestamp() - runs.last_success]
    pending = count_pending_packages(target.pipeline)
    return Status(target.pipeline, target.dataset, busy, lists, runs, pending, audio, max(lags, default=None))


def _query(loaded: LoadedTables, table: str, query: str) -> list[Row]:
    return loaded.query(lambda _: query) if loaded.find(table) else []


def _read_lists(loaded: LoadedTables, config: VbcConfig, now: datetime) -> Iterator[ListStatus]:
    access = {
        (account, resource, user): word
        for account, resource, user, word in _query(loaded, "user_access", _ACCESS)
    }
    gone = (
        {(account, user) for account, user in _query(loaded, "users", _GONE)}
        if loaded.has("users", "gone_at")
        else set()
    )
    proven = read_proven_spans(loaded, config)
    groups: dict[tuple[str, str], list[ReadProgress]] = {}
    for progress in read_progress(loaded, config):
        groups.setdefault((progress.list.account, progress.list.resource), []).append(progress)
    for (account, resource), lists in sorted(groups.items()):
        unreadable = {
            user
            for (owner, name, user), word in access.items()
            if (owner, name) == (account, resource) and word != "allowed"
        }
        live = [
            progress
            for progress in lists
            if progress.list.user not in unreadable and (account, progress.list.user) not in gone
        ] or lists
        counts: dict[str, int] = dict(
            _query(loaded, resource, _ROWS.format(key=KEYS[resource], table=resource))
        )
        read_until = min(progress.read_until for progress in live)
        ends = [proven[progress.list][0].end if progress.list in proven else None for progress in live]
        yield ListStatus(
            account_id=account,
            resource=resource,
            lists=len(live),
            unreadable=len(unreadable),
            last_success=max(progress.read_at for progress in lists),
            read_until=read_until,
            lag_seconds=max(0.0, (now - read_until).total_seconds()),
            proven_until=None if None in ends else min(end for end in ends if end),
            rows=int(counts.get(account, 0)),
            rows_read=sum(progress.rows_read for progress in lists),
            requests=sum(progress.requests for progress in lists),
            windows=sum(progress.windows for progress in lists),
        )
