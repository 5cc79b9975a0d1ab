"""Markers in every field, key, header and setting: no command writes them where they do not belong."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from gateway_fixtures import PASSWORD
from in_process import run_in_process
from starlette.types import Message, Receive, Scope, Send
from test_privacy import KEY, SETTINGS, private_gateway, search_files, secrets

from vbc_source.emulator import Gateway

SPAN = ("--start-date", "2020-01-01", "--end-date", "2030-01-01", "--window", "1000", "--workers", "1")
BUCKET = ("--bucket-url", "archive")
COMMANDS = (
    ("doctor",),
    ("sync",),
    ("sync",),
    ("verify", "--repair"),
    ("backfill", *SPAN),
    ("audio", *BUCKET),
    ("fixity", *BUCKET),
    ("retention", "--older-than", "1", *BUCKET),
    ("retention", "plan", "--out", "plan.json", *BUCKET),
    ("retention", "apply", "--plan", "plan.json", *BUCKET),
    ("evidence", "--verify-chain", *BUCKET),
    ("evidence", "CALL", "--out", "bag", *BUCKET),
    ("forget", "12025550177", *BUCKET),
    ("export", "list"),
    ("status",),
    ("status", "--format", "prometheus"),
    ("status", "--json"),
)
POLICY = """
[[rules]]
name = "all"
older_than_days = 1
actions = ["delete_at_vbc"]
"""
MARKED_HEADERS = ("x-caller", "server", "set-cookie", "x-request-id", "via")

arguments_of_processes: list[str] | None = None  # of those started while a test records them


def _audit(event: str, details: Any) -> None:
    if event == "subprocess.Popen" and arguments_of_processes is not None:
        arguments_of_processes.append(repr(details[:2]))


@pytest.fixture
def processes() -> Iterator[list[str]]:
    """The command lines of the processes that are started during the test."""
    global arguments_of_processes  # noqa: PLW0603 - an audit hook cannot be removed
    if arguments_of_processes is None:
        sys.addaudithook(_audit)
    arguments_of_processes = []
    yield arguments_of_processes
    arguments_of_processes = []


class MarkedGateway:
    """Serves a gateway, with names and numbers in the headers of each response."""

    def __init__(self, gateway: Gateway, marker: str) -> None:
        self._gateway, self._marker = gateway, marker.encode()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._gateway, name)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def mark(message: Message) -> None:
            if message["type"] == "http.response.start":
                marks = [(name.encode(), self._marker) for name in MARKED_HEADERS]
                message["headers"] = [*message["headers"], *marks]
            await send(message)

        await self._gateway(scope, receive, mark)


@pytest.mark.slow
@pytest.mark.parametrize("pii", ["keep", *SETTINGS])
def test_no_command_writes_a_secret_or_personal_data_where_it_does_not_belong(
    serve: Callable[[Any], str], own_folder: Path, processes: list[str], pii: str
) -> None:
    gateway = private_gateway()
    url = serve(MarkedGateway(gateway, "Zebulonia Quaxworth 12025550177"))
    settings = {f"SOURCES__VBC__{name.upper()}": value for name, value in SETTINGS.get(pii, {}).items()}
    login = {f"SOURCES__VBC__CREDENTIALS__{name.upper()}": value for name, value in PASSWORD.items()}
    words = secrets(gateway)
    ours = {KEY, PASSWORD["password"], PASSWORD["client_secret"]}
    (own_folder / "retention.toml").write_text(POLICY)
    call = str(next(row["call_id"] for row in gateway.company.all()))
    for command in COMMANDS:
        done = run_in_process(
            *(call if word == "CALL" else word for word in command),
            SOURCES__VBC__BASE_URL=url,
            SOURCES__VBC__ON_FORBIDDEN="skip",
            SOURCES__VBC__RETRY_SECONDS="1",
            SOURCES__VBC__FILTERS=json.dumps({"caller_id": "12025550177"})
            if command[0] == "backfill"
            else "{}",
            **settings,
            **login,
        )
        assert done.exit_code in (0, 1), (command, done.output)
        assert not [
            line for line in done.output.splitlines() if any(word in line for word in words | ours)
        ], command
    issued = {login.access_token for login in _read_tokens(own_folder)}
    assert issued
    names = {str(path) for path in own_folder.rglob("*")}
    assert not [name for name in names if any(word in name for word in words | ours | issued)]
    assert not [line for line in processes if any(word in line for word in words | ours | issued)]
    assert [
        place for place, _ in search_files(own_folder, ours | issued) if "/vbc_tokens/" not in place
    ] == []
    # to keep them is to have them in the tables, in the archive, and where dlt keeps the names of columns
    places = ("vbc.duckdb", "/dlt/pipelines/", "/archive/", "/bag/") if pii == "keep" else ()
    kept = search_files(own_folder, words)
    assert [place for place, _ in kept if not any(name in place for name in places)] == []


def _read_tokens(folder: Path) -> list[Any]:
    from vbc_source.api.token_cache import TokenCache

    return [TokenCache(path).read() for path in folder.rglob("vbc_tokens/*.json")]
