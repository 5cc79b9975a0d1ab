"""The dlt source: resources, keys, and the cursor in dlt's state."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from typing import Any, ClassVar
from urllib.parse import quote

import dlt
import pyarrow as pa
import pyarrow.compute as pc
from dlt.extract import DltResource, DltSource
from dlt.extract.items_transform import YieldMapItem

from vbc_source.auth import VbcCredentials
from vbc_source.client import Client
from vbc_source.faults import Forbidden, SettingsError
from vbc_source.records import INSTANT, LISTS, Rows, build_recordings, read_page, split_lists
from vbc_source.scan import Page, Proof, Scan, read_ahead
from vbc_source.settings import BASE_URL, RECORDING_API, SELF, Instant, Settings, check_settings
from vbc_source.throttle import Closed
from vbc_source.windows import Window, advance, floor_second, format_instant, plan_window, read_instant

log = logging.getLogger(__name__)

COMPANY = "company_recordings"
KEY = ("account_id",)
_ACCOUNT_IN_LINK = re.compile(r"/accounts/([^/?]+)/")
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
    account_id: str | int | list[str] = SELF,
    start_date: Instant | None = None,
    end_date: Instant | None = None,
    lookback_hours: float = 48,
    page_size: int = 1000,
    max_concurrency: int = 8,
    requests_per_minute: int | None = None,
    on_forbidden: str = "raise",
    retry_seconds: float = 60,
    allow_external_schedulers: bool = False,
) -> DltSource:
    """Call recordings of Vonage Business Communications.

    Every argument is also configuration: `[sources.vbc]` in `.dlt/config.toml`,
    `[sources.vbc.credentials]` in `.dlt/secrets.toml`, or `SOURCES__VBC__…` in the environment.
    Constructing the source sends nothing.

    Args:
        credentials: `client_id`, `client_secret`, `username`, `password`; or `refresh_token`; or a
            ready `access_token`.
        base_url: the gateway; tokens at `/token`, APIs below `/t/vbc.prod/…`.
        recording_api: path of the Call Recording API; `…/v1/api` and India's
            `/t/vbc.prod/call_recording_india/api` answer alike.
        account_id: an account id, several, or `self`, the account of the API user. Rows always
            carry the real id.
        start_date: ISO; oldest `start` to read. Two years ago unless given.
        end_date: ISO; newest `start` to read. With it the run is a backfill: a fixed span, and no
            state is read or written.
        lookback_hours: how far behind the newest loaded `start` every run reads again. A recording
            appears only after its call has ended and was processed, behind later, shorter calls.
        page_size: recordings to ask for at once; what the server really gives is honoured.
        max_concurrency: requests in flight.
        requests_per_minute: a budget for all requests together; none unless given.
        on_forbidden: `raise`, or `skip` to load what is allowed and warn of what is not.
        retry_seconds: how long to go on asking a gateway that fails, seconds.
        allow_external_schedulers: take both bounds from the scheduler's data interval (Airflow's, or
            `DLT_INTERVAL_START` and `DLT_INTERVAL_END`), less the lookback; no state then either.

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
        now = datetime.now(timezone.utc)
        for account in settings.accounts:
            try:
                yield from _read_account(settings, client, account, now)
            except Forbidden as fault:
                if not settings.skip_forbidden:
                    raise
                log.warning("left out, since on_forbidden = skip: %s", fault)

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


def _read_account(settings: Settings, client: Client, account: str, now: datetime) -> Iterator[Any]:
    """Read what is new of an account, window by window, and move its cursor behind each."""
    fixed = _fixed_span(settings, now)
    if fixed:
        for _, _, items in _read_windows(settings, client, account, fixed, now):
            yield from items
        return
    state = dlt.current.resource_state()
    cursors: dict[str, str] = state.setdefault("cursors", {})
    # `self` is resolved by the first answer; until then it is taken for what it was last time
    expected = state.get(SELF) if account == SELF else account
    for real, table, items in _read_windows(
        settings, client, account, _next_window(settings, cursors.get(expected or ""), now), now
    ):
        if real != expected and cursors.get(real) != cursors.get(expected or ""):
            log.info("self is account %s now, reading its own history", real)
            state[SELF] = real
            yield from _read_account(settings, client, account, now)
            return
        yield from items
        cursor = advance(_read_cursor(cursors.get(real)), _newest(table, now), now)
        if cursor:
            cursors[real] = format_instant(cursor)
        if account == SELF:
            state[SELF] = expected = real


def _fixed_span(settings: Settings, now: datetime) -> Window | None:
    """The span of a backfill or of a scheduler's interval; None for an incremental run."""
    start, end = settings.first(now), settings.end
    if settings.use_interval:
        interval = dlt.current.interval()
        if interval is None:
            raise SettingsError(
                "allow_external_schedulers is set, but no scheduler gives a data interval: run it in Airflow, "
                "set DLT_INTERVAL_START and DLT_INTERVAL_END, or leave the setting out"
            )
        start, end = interval.start - settings.lookback, interval.end
    return plan_window(start, min(end, now)) if end else None


def _next_window(settings: Settings, cursor: str | None, now: datetime) -> Window | None:
    return plan_window(settings.first(now), now, _read_cursor(cursor), settings.lookback)


def _read_cursor(cursor: str | None) -> datetime | None:
    return read_instant(cursor) if cursor else None


def _newest(recordings: pa.Table, now: datetime) -> Sequence[datetime]:
    """The newest `start` that is not in the future."""
    starts = recordings["start"]
    newest = pc.max(starts.filter(pc.less_equal(starts, pa.scalar(now, INSTANT)))).as_py()
    return [newest] if newest else []


def _read_windows(
    settings: Settings, client: Client, account: str, window: Window | None, now: datetime
) -> Iterator[tuple[str, pa.Table, list[Any]]]:
    """Read a span; yields the real account id, the recordings and the items for dlt."""
    if window is None:
        return
    stopped = threading.Event()
    with ThreadPoolExecutor(settings.max_concurrency) as pool:
        fetch = _make_fetch(settings, client, account, stopped)
        scan = Scan(fetch, settings.page_size, pool, now - settings.lookback)
        seen: pa.Array = pa.array([], pa.int64())
        for proof in read_ahead(scan.read(window), stopped.set):
            real = _real_account(account, proof)
            if real is None:
                log.warning("self has no recordings yet, and the gateway does not say which account it is")
                return
            table = build_recordings([page.rows for page in proof.pages], {"account_id": real}, _known_type)
            # neighbours share a second: what the window before brought of it is not sent twice
            fresh = table.filter(pc.invert(pc.is_in(table["id"], seen)))
            seen = table["id"].filter(pc.greater_equal(table["start"], proof.window.end))
            yield real, table, [fresh, _proof_row(real, proof)]
            _report(real, proof)


def _make_fetch(
    settings: Settings, client: Client, account: str, stopped: threading.Event
) -> Callable[[Window, int, int], Page[Rows]]:
    path = f"{settings.recording_api}/accounts/{quote(account)}/company_call_recordings"

    def fetch(window: Window, number: int, size: int) -> Page[Rows]:
        if stopped.is_set():
            raise Closed
        params = {
            "start:gte": format_instant(window.start),
            "start:lte": format_instant(window.end),
            "order": "start:ASC",
            "page": number,
            "page_size": size,
        }
        what = f"Call Recording API, company recordings of account {account}"
        return client.get(path, params, read_page, what=what)

    return fetch


def _real_account(account: str, proof: Proof[Rows]) -> str | None:
    """The account id that rows carry; None where it is unknown and there are no rows."""
    if account != SELF:
        return account
    links = [link for page in proof.pages for link in page.links]
    found = [id_ for link in links for id_ in _ACCOUNT_IN_LINK.findall(link) if id_ != SELF]
    if not found and proof.total_items:
        raise SettingsError("the gateway does not say which account self is: set account_id to its number")
    return found[0] if found else None


def _known_type(name: str) -> pa.DataType | None:
    """The type that a further column got when it was first loaded."""
    schema = dlt.current.source_schema()
    columns = schema.tables.get(COMPANY, {}).get("columns", {})
    known = columns.get(schema.naming.normalize_identifier(name), {}).get("data_type")
    return _ARROW_TYPES.get(known, pa.string()) if known else None


def _proof_row(account: str, proof: Proof[Rows]) -> Any:
    row = {
        "account_id": account,
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


def _report(account: str, proof: Proof[Rows]) -> None:
    metrics = dlt.current.resource_metrics()
    for name, number in (("windows", 1), ("recordings", proof.total_items), ("requests", proof.requests)):
        metrics[name] = metrics.get(name, 0) + number
    log.info(
        "account %s: %s recordings proven complete up to %s, %s requests",
        account,
        f"{metrics['recordings']:,}",
        format_instant(proof.window.end),
        f"{metrics['requests']:,}",
    )
