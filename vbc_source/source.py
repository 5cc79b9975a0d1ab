"""The dlt source: resources, keys, and the cursor in dlt's state."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Any, ClassVar, Literal

import dlt
import pyarrow as pa
from dlt.common.schema import Schema
from dlt.extract import DltResource, DltSource
from dlt.extract.items_transform import YieldMapItem

from vbc_source.auth import VbcCredentials
from vbc_source.client import Client
from vbc_source.columns import INSTANT
from vbc_source.duckdb_names import qualify_same_names
from vbc_source.faults import Forbidden, SettingsError
from vbc_source.reader import Batch, Naming, read_company
from vbc_source.records import LISTS, split_lists
from vbc_source.settings import BASE_URL, RECORDING_API, SELF, Instant, Settings, check_settings
from vbc_source.windows import Window, advance, format_instant, plan_window, read_instant

log = logging.getLogger(__name__)
qualify_same_names()

COMPANY = "company_recordings"
KEY = ("account_id",)
DAY = timedelta(days=1)
NEVER = "9999"  # later than any instant, as text
_ARROW_TYPES: dict[str, pa.DataType] = {
    "text": pa.string(),
    "bigint": pa.int64(),
    "double": pa.float64(),
    "bool": pa.bool_(),
    "timestamp": INSTANT,
}


@dlt.source(name="vbc", section="vbc")
def vbc_source(
    credentials: VbcCredentials = dlt.secrets.value,
    base_url: str = BASE_URL,
    recording_api: str = RECORDING_API,
    account_id: Any = SELF,  # str | int | list; dlt does not configure an argument of such a type
    start_date: Instant | None = None,
    end_date: Instant | None = None,
    lookback_hours: float = 48,
    page_size: int = 1000,
    max_concurrency: int = 8,
    requests_per_minute: int | None = None,
    on_forbidden: str = "raise",
    retry_seconds: float = 60,
    rows_per_run: int | None = None,
    allow_external_schedulers: bool = False,
) -> DltSource:
    """Call recordings of Vonage Business Communications.

    Every argument is also dlt configuration, in section `sources.vbc`. Constructing sends nothing.

    Args:
        credentials: client and user with their secrets; or `refresh_token`; or a ready `access_token`.
        base_url: the gateway; tokens at `/token`, APIs below `/t/vbc.prod/…`.
        recording_api: path of the Call Recording API; `…/v1/api` and India's answer alike.
        account_id: an account, several, or `self`, the API user's. Rows always carry the real id.
        start_date: ISO; oldest `start` to read. Two years ago unless given.
        end_date: ISO; newest `start` to read. With it the run is a backfill: no state is read or written.
        lookback_hours: how far behind the newest loaded `start` every run reads again.
        page_size: recordings to ask for at once; what the server really gives is honoured.
        max_concurrency: requests in flight.
        requests_per_minute: a budget for all requests together; none unless given.
        on_forbidden: `raise`, or `skip` to load what is allowed and warn of what is not.
        retry_seconds: how long to go on asking a gateway that fails, seconds.
        rows_per_run: end an incremental run after about so many recordings; the next one goes on there.
        allow_external_schedulers: take the scheduler's data interval, less the lookback, without state.

    Raises:
        SettingsError: a setting is malformed; the message names it.
    """
    settings = check_settings(
        recording_api=recording_api,
        account_id=account_id,
        start_date=start_date,
        end_date=end_date,
        lookback_hours=lookback_hours,
        page_size=page_size,
        max_concurrency=max_concurrency,
        requests_per_minute=requests_per_minute,
        on_forbidden=on_forbidden,
        rows_per_run=rows_per_run,
        allow_external_schedulers=allow_external_schedulers,
    )
    client = Client(
        base_url,
        credentials,
        requests_per_minute=requests_per_minute,
        retry_seconds=retry_seconds,
        connections=settings.max_concurrency,
    )
    return company_recordings(settings, client)  # type: ignore[return-value]


def company_recordings(settings: Settings, client: Client) -> DltResource:
    """Company recordings with their child tables and the windows that were proven."""

    def read() -> Iterator[Any]:
        return _Run(settings, client).read()

    resource: DltResource = dlt.resource(
        read, name=COMPANY, primary_key=(*KEY, "id"), write_disposition="merge"
    )
    return resource.add_step(ChildTables(_split_children))


class ChildTables(YieldMapItem):
    """Sends the lists of recordings to tables of their own, behind whatever a user adds to the pipe.

    So they come with `with_resources`, and a limit counts windows, not tables.
    """

    placement_affinity: ClassVar[float] = 1.5


def _split_children(recordings: pa.Table) -> Iterator[Any]:
    present = [name for name in LISTS if name in recordings.column_names]
    yield recordings.drop_columns(present)
    for name, table in split_lists(recordings, KEY).items():
        hints = dlt.mark.make_hints(
            table_name=f"{COMPANY}__{name}",
            write_disposition="merge",
            primary_key=(*KEY, "recording_id", "position"),
            merge_key=(*KEY, "recording_id"),
            columns={"is_empty": {"hard_delete": True}},
        )
        yield dlt.mark.with_hints(table, hints, create_table_variant=True)


class _Run:
    """One run of the company recordings: which spans to read, and the cursors behind them."""

    def __init__(self, settings: Settings, client: Client) -> None:
        self._settings, self._client = settings, client
        self._now = datetime.now(timezone.utc)

    def read(self) -> Iterator[Any]:
        for account in self._settings.accounts:
            try:
                yield from self._read_account(account)
            except Forbidden as fault:
                if not self._settings.skip_forbidden:
                    raise
                log.warning("left out, since on_forbidden = skip: %s", fault)

    def _read_account(self, account: str) -> Iterator[Any]:
        span = self._fixed_span()
        if span is None:
            yield from self._read_new(account)
        elif span:
            for batch in self._read_window(account, span):
                yield from _items(batch)

    def _fixed_span(self) -> Window | Literal[False] | None:
        """The span of a backfill or a scheduler's interval; None for an incremental run."""
        start, end = self._settings.first(self._now), self._settings.end
        if self._settings.use_interval:
            interval = dlt.current.interval()
            if interval is None:
                raise SettingsError(
                    "allow_external_schedulers is set, but no scheduler gives a data interval: run it in "
                    "Airflow, set DLT_INTERVAL_START and DLT_INTERVAL_END, or leave the setting out"
                )
            start, end = interval.start - self._settings.lookback, interval.end
        if end is None:
            return None
        return plan_window(start, min(end, self._now)) or False

    def _read_new(self, account: str) -> Iterator[Any]:
        """Read behind the cursor, window by window, and move it after each."""
        state = dlt.current.resource_state()
        cursors: dict[str, str] = state.setdefault("cursors", {})
        # `self` is resolved by the first answer; until then it is taken for what it was last time
        expected = state.get(SELF, "") if account == SELF else account
        settings, since = self._settings, state.setdefault("since", {})
        first = settings.first(self._now)
        if expected in since and first < read_instant(since[expected]) - DAY:
            log.warning("start_date is earlier than before: reading the history of %s anew", account)
            cursors.pop(expected, None)
        window = plan_window(first, self._now, _read_cursor(cursors.get(expected)), settings.lookback)
        for batch in self._read_window(account, window) if window else ():
            if account == SELF:
                state[SELF] = batch.account
            if cursors.get(batch.account) != cursors.get(expected):
                log.info("self is account %s now: reading its own history", batch.account)
                yield from self._read_new(account)
                return
            yield from _items(batch)
            expected = batch.account
            cursor = advance(_read_cursor(cursors.get(expected)), batch.newest(self._now), self._now)
            if cursor:
                since[expected] = min(since.get(expected, NEVER), format_instant(first))
                cursors[expected] = format_instant(cursor)
            if self._is_full():
                return

    def _read_window(self, account: str, window: Window) -> Iterator[Batch]:
        schema = dlt.current.source_schema()
        naming = Naming(schema.naming.normalize_identifier, partial(_known_type, schema))
        return read_company(self._settings, self._client, account, window, self._now, naming)

    def _is_full(self) -> bool:
        """Whether this run has read as much as one run may; the next one goes on from here."""
        metrics = dlt.current.resource_metrics()
        most = self._settings.rows_per_run
        metrics["unfinished"] = int(most is not None and metrics.get("recordings", 0) >= most)
        return bool(metrics["unfinished"])


def _read_cursor(cursor: str | None) -> datetime | None:
    return read_instant(cursor) if cursor else None


def _items(batch: Batch) -> Iterator[Any]:
    yield batch.recordings
    yield _proof_row(batch)
    _report(batch)


def _known_type(schema: Schema, column: str) -> pa.DataType | None:
    """The type that a further column got when it was first loaded."""
    columns = schema.tables[COMPANY]["columns"] if COMPANY in schema.tables else {}
    known = columns.get(column, {}).get("data_type")
    return _ARROW_TYPES.get(known, pa.string()) if known else None


def _proof_row(batch: Batch) -> Any:
    proof = batch.proof
    row = {
        "account_id": batch.account,
        "resource": COMPANY,
        "user_id": None,
        "window_start": proof.window.start,
        "window_end": proof.window.end,
        "total_items": proof.total_items,
        "rows_read": sum(page.count for page in proof.pages),
        "requests": proof.requests,
        "attempts": proof.attempts,
        "scanned_at": datetime.now(timezone.utc),
    }
    hints = dlt.mark.make_hints(
        table_name="scan_windows", write_disposition="append", primary_key=(), merge_key=()
    )
    return dlt.mark.with_hints(pa.Table.from_pylist([row], _PROOF_SCHEMA), hints, create_table_variant=True)


_PROOF_SCHEMA = pa.schema(
    {
        "account_id": pa.string(),
        "resource": pa.string(),
        "user_id": pa.string(),
        "window_start": INSTANT,
        "window_end": INSTANT,
        "total_items": pa.int64(),
        "rows_read": pa.int64(),
        "requests": pa.int64(),
        "attempts": pa.int64(),
        "scanned_at": INSTANT,
    }
)


def _report(batch: Batch) -> None:
    proof, metrics = batch.proof, dlt.current.resource_metrics()
    for name, number in (("windows", 1), ("recordings", proof.total_items), ("requests", proof.requests)):
        metrics[name] = metrics.get(name, 0) + number
    log.info(
        "account %s: %s recordings proven complete up to %s, %s requests",
        batch.account,
        f"{metrics['recordings']:,}",
        format_instant(proof.window.end),
        f"{metrics['requests']:,}",
    )
