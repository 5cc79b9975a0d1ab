"""The contenders: how each is started, and which table it loads."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.environments import AIRBYTE, CONNECTOR, SCRIPT, SINGER, Environment

SCRIPTS = Path(__file__).with_name("scripts")
POSTGRES = "postgresql://postgres:unused@127.0.0.1:5432/test"  # dlt needs a password, the server does not
DATASET = "bench_vbc"
TABLE = "company_recordings"


@dataclass(frozen=True, slots=True)
class Work:
    """The work of a contender.

    Attributes:
        rows: Number of recordings.
        page_size: Rows to request per page, and the most the server returns.
        delay: Seconds before a response.
        per_minute: Quota of the server, for which contenders are configured; 0 for none.
        destination: `duckdb`, `postgres`, or `filesystem` for parquet files.
    """

    rows: int
    page_size: int = 1000
    delay: float = 0.0
    per_minute: int = 0
    destination: str = "duckdb"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a contender runs.

    Attributes:
        url: Address of the fixture server.
        folder: An empty folder.
        start: Oldest start to read, ISO.
    """

    url: str
    folder: Path
    start: str


Command = Callable[[Work, Place], Sequence[str | Path]]


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to load the recordings.

    Attributes:
        name: Name for `--only`.
        label: Name in the results.
        environment: Where it is installed.
        command: Returns its command line.
        table: The table that it loads in DuckDB.
        page_size: Its own page size; None for that of the work.
        destination: Where it loads when it warms up.
    """

    name: str
    label: str
    environment: Environment
    command: Command
    table: str
    page_size: int | None = None
    destination: str = "duckdb"


def make_environ(work: Work, place: Place) -> Mapping[str, str]:
    """Return the environment variables of every contender."""
    own = {
        "SOURCES__VBC__BASE_URL": place.url,
        "SOURCES__VBC__PAGE_SIZE": str(work.page_size),
        **{f"SOURCES__VBC__CREDENTIALS__{name}": "bench" for name in _CREDENTIALS},
        "DESTINATION__POSTGRES__CREDENTIALS": POSTGRES,
        "NORMALIZE__DATA_WRITER__DISABLE_COMPRESSION": "true",  # as docs/speed.md has it
        "DESTINATION__FILESYSTEM__BUCKET_URL": str(place.folder / "lake"),
    }
    if work.per_minute:
        own["SOURCES__VBC__REQUESTS_PER_MINUTE"] = str(work.per_minute)
    quiet = {"RUNTIME__DLTHUB_TELEMETRY": "false", "DO_NOT_TRACK": "1", "AIRBYTE_OFFLINE_MODE": "1"}
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_SETTINGS)}
    return {**kept, **own, **quiet, "DLT_DATA_DIR": str(place.folder / "dlt"), "TMPDIR": str(place.folder)}


_CREDENTIALS = ("CLIENT_ID", "CLIENT_SECRET", "USERNAME", "PASSWORD")
_SETTINGS = (
    "SOURCES__",
    "DESTINATION__",
    "NORMALIZE__",
    "LOAD__",
    "EXTRACT__",
    "DATA_WRITER__",
    "PYTHONDONTWRITEBYTECODE",  # the checkout would be compiled in each run, and the other packages are not
)


def _script(environment: Environment, name: str, variant: str = "", page_size: int | None = None) -> Command:
    def command(work: Work, place: Place) -> Sequence[str | Path]:
        given = {
            "--url": place.url,
            "--folder": place.folder,
            "--page-size": str(page_size or work.page_size),
            "--start": place.start,
            "--per-minute": str(work.per_minute),
            "--destination": work.destination,
            "--variant": variant,
        }
        return [
            environment.python,
            SCRIPTS / f"{name}.py",
            *(part for pair in given.items() for part in pair),
        ]

    return command


def _public(variant: str = "") -> Command:
    """Run the public API with the allocators that docs/speed.md advises."""
    command = _script(CONNECTOR, "connector", variant=variant)
    return lambda work, place: ["env", *ALLOCATORS, *command(work, place)]


def _sync(work: Work, place: Place) -> Sequence[str | Path]:
    vbc = CONNECTOR.python.with_name("vbc")
    options = ["--destination", work.destination, "--dataset", DATASET, "--start-date", place.start]
    return [vbc, "sync", "--resources", TABLE, "--json", *options]


def _sync_many(work: Work, place: Place) -> Sequence[str | Path]:
    return ["env", f"SOURCES__VBC__MAX_CONCURRENCY={MANY}", *_sync(work, place)]


ALLOCATORS = (
    "ARROW_DEFAULT_MEMORY_POOL=system",
    "MALLOC_ARENA_MAX=2",
    "MALLOC_MMAP_THRESHOLD_=1048576",
)
MANY = 32  # requests in flight, where the default is 8
_PEER_TABLE = f"peer.{TABLE}"

CONTENDERS: Mapping[str, Contender] = {
    contender.name: contender
    for contender in (
        Contender("sync", "`vbc sync`", CONNECTOR, _sync, f"vbc.{DATASET}.{TABLE}"),
        Contender(
            "sync_many",
            f"`vbc sync`, `max_concurrency = {MANY}`",
            CONNECTOR,
            _sync_many,
            f"vbc.{DATASET}.{TABLE}",
        ),
        Contender(
            "connector",
            "`pipeline.run(vbc_source())`",
            CONNECTOR,
            _public(),
            f"vbc.{DATASET}.{TABLE}",
        ),
        Contender(
            "warm",
            "the same, the second run of a process",
            CONNECTOR,
            _public("warm"),
            f"vbc.{DATASET}.{TABLE}",
        ),
        Contender(
            "floor",
            "floor: `http.client` + DuckDB's JSON reader",
            CONNECTOR,
            _script(CONNECTOR, "floor"),
            TABLE,
        ),
        Contender(
            "postgres_floor",
            "floor: `http.client` + msgspec + COPY and one merge",
            CONNECTOR,
            _script(CONNECTOR, "postgres_floor"),
            TABLE,
            destination="postgres",
        ),
        Contender("bare", "bare script: `requests` + pandas", SCRIPT, _script(SCRIPT, "bare"), TABLE),
        Contender(
            "tutorial",
            "the same, ten a page: the vendor's tutorial",
            SCRIPT,
            _script(SCRIPT, "bare", page_size=10),
            TABLE,
            page_size=10,
        ),
        Contender("singer", "Singer tap and target", SINGER, _script(SINGER, "singer_pipe"), _PEER_TABLE),
        Contender(
            "rest_api",
            "dlt `rest_api` with defaults",
            CONNECTOR,
            _script(CONNECTOR, "rest_api_source"),
            _PEER_TABLE,
        ),
        Contender(
            "rest_api_parquet",
            "dlt `rest_api`, tuned: parquet",
            CONNECTOR,
            _script(CONNECTOR, "rest_api_source", variant="parquet"),
            _PEER_TABLE,
        ),
        Contender(
            "airbyte", "Airbyte declarative source", AIRBYTE, _script(AIRBYTE, "airbyte_source"), _PEER_TABLE
        ),
    )
}

EMPTY_DLT = Contender(
    "empty_dlt", "`import dlt` and an empty run", CONNECTOR, _script(CONNECTOR, "empty_dlt"), ""
)
SYNC, PUBLIC = CONTENDERS["sync"], CONTENDERS["connector"]
