"""Rows of users' recordings: those that an emulated gateway has, and those that were loaded."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from typing import Any

import dlt
from dlt.extract import DltSource
from loading import credentials, instant, query

from vbc_source import vbc_source
from vbc_source.emulator import Gateway

MAIN = "549825"


def ago(**span: float) -> str:
    """A time before now, as the API writes it."""
    return (datetime.now(timezone.utc) - timedelta(**span)).strftime("%Y-%m-%dT%H:%M:%S+0000")


def users_of(gateway: Gateway, account: str = MAIN) -> list[str]:
    return [str(row["id"]) for row in gateway.accounts[account].users.all()]


def expected_recordings(
    gateway: Gateway, account: str = MAIN, users: Iterable[str] = ()
) -> list[tuple[Any, ...]]:
    """Rows that `user_recordings` should have of an account."""
    return sorted(
        (account, user, int(row["id"]), instant(row["start"]), _text(row["caller_id"]), row["duration"])
        for user in (users or users_of(gateway, account))
        for row in gateway.accounts[account].users.recordings(user).all()
    )


def loaded(pipeline: dlt.Pipeline, account: str = MAIN) -> list[tuple[Any, ...]]:
    rows = query(
        pipeline,
        f"SELECT account_id, user_id, id, start, caller_id, duration FROM user_recordings "
        f"WHERE account_id = '{account}'",
    )
    return sorted((*row[:3], row[3].astimezone(timezone.utc), *row[4:]) for row in rows)


def expected_extensions(gateway: Gateway, account: str = MAIN) -> list[tuple[Any, ...]]:
    return sorted(
        (account, user, int(row["id"]), position, str(extension))
        for user in users_of(gateway, account)
        for row in gateway.accounts[account].users.recordings(user).all()
        for position, extension in enumerate(row["extensions"] or [])
    )


def count(pipeline: dlt.Pipeline, table: str, where: str = "true") -> int:
    return int(query(pipeline, f"SELECT count(*) FROM {table} WHERE {where}")[0][0])


def state(pipeline: dlt.Pipeline, resource: str = "user_recordings") -> dict[str, Any]:
    found: dict[str, Any] = pipeline.state["sources"]["vbc"]["resources"][resource]
    return found


def requested_paths(gateway: Gateway) -> list[str]:
    """The paths that were requested, without logins."""
    return [request.path for request in gateway.requests if request.path != "/token"]


def only(url: str, *resources: str, **settings: Any) -> DltSource:
    """A source with some of its resources, or with those that it selects itself."""
    source = vbc_source(credentials=credentials(), base_url=url, **settings)
    return source.with_resources(*resources) if resources else source


def extract(pipeline: dlt.Pipeline, url: str, *resources: str, **settings: Any) -> None:
    """Read without loading, for what shows in requests and in state."""
    pipeline.extract(only(url, *resources, **settings))


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
