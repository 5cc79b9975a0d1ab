"""A loaded database to verify: a gateway, what is loaded from it, and what may go wrong between the two."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import dlt
import duckdb
from loading import LOGIN, open_target, query

from vbc_source.emulator import Gateway
from vbc_source.emulator.data.recordings import Recordings
from vbc_source.load.destinations import Target
from vbc_source.load.pipelines import hold_pipeline
from vbc_source.load.sync import make_source, run_pipeline
from vbc_source.verification.findings import VerifyResult
from vbc_source.verification.verify import verify

NOW = time.time()  # of the whole session: gateways of equal arguments hold equal recordings
RECENT = (11, 12, 13)  # company recordings inside the lookback
SHARED = tuple(range(100, 105))  # ids that two users' recordings have in common
TOMBSTONES = (
    "SELECT recording_type, user_id, recording_id FROM recording_tombstones WHERE returned_at IS NULL"
)


def configure(url: str, **settings: str) -> dict[str, str]:
    """Return the environment for a gateway whose failures are not retried for long."""
    login = {f"SOURCES__VBC__CREDENTIALS__{name.upper()}": value for name, value in LOGIN.items()}
    return {**login, "SOURCES__VBC__BASE_URL": url, "SOURCES__VBC__RETRY_SECONDS": "1", **settings}


def ago(days: float) -> str:
    moment = datetime.fromtimestamp(NOW, timezone.utc) - timedelta(days=days)
    return moment.strftime("%Y-%m-%dT%H:%M:%S+0000")


def make_standard_gateway(**options: Any) -> Gateway:
    """Make the gateway whose recordings the shared databases hold; its clock stands still."""
    gateway = Gateway(clock=lambda: NOW, recordings=300, users=3, user_recordings=30, **options)
    for id_ in RECENT:
        gateway.company.add(id=id_, start=ago(1), duration=60_000)
    for user in gateway.users.all()[:2]:
        for id_ in SHARED:
            gateway.users.recordings(str(user["id"])).add(id=id_, start=ago(100 + id_), duration=60_000)
    return gateway


@dataclass
class Stand:
    """A gateway that is served, and the destination that it is loaded into."""

    gateway: Gateway
    url: str
    destination: str = "duckdb"
    dataset: str = "vbc_data"

    @property
    def target(self) -> Target:
        return Target("vbc", self.destination, self.dataset)

    def sync(self, *resources: str) -> None:
        with hold_pipeline(self.target) as held:
            run_pipeline(held, make_source(resources or ("company_recordings", "user_recordings")))

    def verify(self, **options: Any) -> VerifyResult:
        return verify(self.target, **options)

    @property
    def pipeline(self) -> dlt.Pipeline:
        return open_target("vbc", self.destination, self.dataset)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        if self.destination != "duckdb":
            return query(self.pipeline, sql)
        with duckdb.connect(
            str(Path("vbc.duckdb").resolve())
        ) as connection:  # much faster than a dlt pipeline
            connection.execute(f"USE {self.dataset}")
            return connection.execute(sql).fetchall()

    def tombstones(self) -> list[tuple[Any, ...]]:
        exists = "SELECT count(*) FROM information_schema.tables WHERE table_name = 'recording_tombstones'"
        exists += f" AND table_schema = '{self.dataset}'"
        return sorted(self.query(TOMBSTONES)) if self.query(exists)[0][0] else []

    def current(self, kind: str = "company") -> set[int]:
        sql = f"SELECT id FROM current_recordings WHERE recording_type = '{kind}'"
        return {int(row[0]) for row in self.query(sql)}

    def requests(self) -> int:
        """Count the requests since the gateway was cleared, without logins."""
        return sum(request.path != "/token" for request in self.gateway.requests)

    def add_late(self, id_: int, days: float = 100, **fields: Any) -> None:
        """Add a recording that no lookback reads any more."""
        self.gateway.company.add(id=id_, start=ago(days), duration=60_000, **fields)


Prepare = Callable[..., Stand]


def settled(recordings: Recordings) -> int:
    """Count the recordings of a list that are older than the lookback."""
    return sum(row["start"] < ago(days=2) for row in recordings.all())


def oldest(gateway: Gateway, number: int) -> int:
    """Return the id of one of the oldest company recordings."""
    return int(gateway.company.all()[-number]["id"])


def script(name: str) -> str:
    return str(Path(__file__).parents[2] / "pipelines" / name)
