"""A load to verify: a gateway, what is loaded from it, and what may go wrong between the two."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import dlt
from loading import LOGIN, open_target, query

from vbc_source.emulator import Gateway
from vbc_source.emulator.data.recordings import Recordings
from vbc_source.load.destinations import Target
from vbc_source.load.pipelines import hold_pipeline
from vbc_source.load.sync import make_source, run_pipeline
from vbc_source.verification.verify import VerifyResult, verify

TOMBSTONES = (
    "SELECT recording_type, user_id, recording_id FROM recording_tombstones WHERE returned_at IS NULL"
)


def configure(url: str, **settings: str) -> dict[str, str]:
    """The environment for a gateway that is not asked again and again where it fails."""
    login = {f"SOURCES__VBC__CREDENTIALS__{name.upper()}": value for name, value in LOGIN.items()}
    return {**login, "SOURCES__VBC__BASE_URL": url, "SOURCES__VBC__RETRY_SECONDS": "1", **settings}


@dataclass
class Stand:
    """A gateway that is served, and the destination that it is loaded into."""

    gateway: Gateway
    url: str
    destination: str = "duckdb"
    dataset: str = "vbc_data"

    def sync(self, *resources: str) -> None:
        with hold_pipeline(Target("vbc", self.destination, self.dataset)) as held:
            run_pipeline(held, make_source(resources or ("company_recordings", "user_recordings")))

    def verify(self, **options: Any) -> VerifyResult:
        return verify(Target("vbc", self.destination, self.dataset), **options)

    @property
    def pipeline(self) -> dlt.Pipeline:
        return open_target("vbc", self.destination, self.dataset)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        return query(self.pipeline, sql)

    def tombstones(self) -> list[tuple[Any, ...]]:
        there = "SELECT count(*) FROM information_schema.tables WHERE table_name = 'recording_tombstones'"
        there += f" AND table_schema = '{self.dataset}'"
        return sorted(self.query(TOMBSTONES)) if self.query(there)[0][0] else []

    def current(self, kind: str = "company") -> set[int]:
        sql = f"SELECT id FROM current_recordings WHERE recording_type = '{kind}'"
        return {int(row[0]) for row in self.query(sql)}

    def requests(self) -> int:
        """How many requests reached the gateway since it was cleared; logins do not count."""
        return sum(request.path != "/token" for request in self.gateway.requests)

    def add_late(self, id_: int, days: float = 100, **fields: Any) -> None:
        """Have a recording appear that no lookback reads any more."""
        self.gateway.company.add(id=id_, start=ago(days), duration=60_000, **fields)


Prepare = Callable[..., Stand]


def ago(days: float) -> str:
    moment = datetime.now(timezone.utc) - timedelta(days=days)
    return moment.strftime("%Y-%m-%dT%H:%M:%S+0000")


def settled(recordings: Recordings) -> int:
    """How many recordings of a list are older than the lookback: the rest is not compared."""
    return sum(row["start"] < ago(days=2) for row in recordings.all())


def oldest(gateway: Gateway, number: int) -> int:
    """The id of one of the oldest company recordings."""
    return int(gateway.company.all()[-number]["id"])


def script(name: str) -> str:
    return str(Path(__file__).parents[2] / "pipelines" / name)
