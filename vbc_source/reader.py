"""Reads a span of an account's recordings: from the API's pages to proven batches of Arrow."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc

from vbc_source.client import Client
from vbc_source.columns import INSTANT
from vbc_source.faults import SettingsError
from vbc_source.proof import Page, Proof
from vbc_source.records import Rows, build_recordings, read_page
from vbc_source.scan import Scan, read_ahead
from vbc_source.settings import SELF, Settings
from vbc_source.throttle import Closed
from vbc_source.windows import Window, format_instant

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Naming:
    """What the destination knows of further columns.

    Attributes:
        normalize: gives the name that a field of the API has as a column.
        known_type: gives the type a column got when it was first loaded, or None.
    """

    normalize: Callable[[str], str]
    known_type: Callable[[str], pa.DataType | None]


_ACCOUNT_IN_LINK = re.compile(r"/accounts/([^/?]+)/")


@dataclass(frozen=True, slots=True)
class Batch:
    """A window's recordings, proven complete.

    Attributes:
        account: the real account id.
        recordings: as `build_recordings` makes them, less what the window before brought already.
        proof: what was read, and how it was proven.
    """

    account: str
    recordings: pa.Table
    proof: Proof[Rows]

    def newest(self, now: datetime) -> list[datetime]:
        """The newest `start` that is not in the future, if any."""
        starts = self.recordings["start"]
        newest = pc.max(starts.filter(pc.less_equal(starts, pa.scalar(now, INSTANT)))).as_py()
        return [newest] if newest else []


def read_company(
    settings: Settings, client: Client, account: str, window: Window, now: datetime, naming: Naming
) -> Iterator[Batch]:
    """Read an account's company recordings, oldest first.

    Args:
        settings: how to read.
        client: what to read with.
        account: an account id, or `self`.
        window: the span of `start`.
        now: when the run began; what is older than the lookback counts as settled.
        naming: what the destination knows of further columns.

    Raises:
        VbcError: it could not be read, or not proven complete.
    """
    stopped = threading.Event()
    fetch = _make_fetch(settings, client, account, stopped)
    seen: pa.Array = pa.array([], pa.int64())
    pool = ThreadPoolExecutor(settings.max_concurrency)
    scan = Scan(fetch, settings.page_size, pool, now - settings.lookback)
    try:
        for proof in read_ahead(scan.read(window), stopped.set, client.close):
            real = _real_account(account, proof)
            if real is None:
                log.warning("self has no recordings yet, and the gateway does not say which account it is")
                return
            rows, key = [page.rows for page in proof.pages], {"account_id": real}
            table = build_recordings(rows, key, naming.known_type, naming.normalize)
            # neighbours share a second: what the window before brought of it is not sent twice
            fresh = table.filter(pc.invert(pc.is_in(table["id"], seen)))
            seen = table["id"].filter(pc.greater_equal(table["start"], proof.window.end))
            yield Batch(real, fresh, proof)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _make_fetch(
    settings: Settings, client: Client, account: str, stopped: threading.Event
) -> Callable[[Window, int, int], Page[Rows]]:
    path = f"{settings.recording_api}/accounts/{quote(account)}/company_call_recordings"
    what = f"Call Recording API, company recordings of account {account}"

    def fetch(window: Window, number: int, size: int) -> Page[Rows]:
        if stopped.is_set():
            raise Closed
        params: dict[str, str | int] = {
            "start:gte": format_instant(window.start),
            "start:lte": format_instant(window.end),
            "order": "start:ASC",
            "page": number,
            "page_size": size,
        }
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
