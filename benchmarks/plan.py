"""The scenarios: work, contenders and repetitions, in the order of the results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.contenders import Work

BUDGET = 600
LATENCY = 0.05


@dataclass(frozen=True, slots=True)
class Scenario:
    """Contenders that do the same work in turns.

    Attributes:
        name: Name for `--scenarios`.
        title: Heading in the results.
        work: What they load.
        contenders: Their names.
        repetitions: Number of repetitions.
        note: An explanation for the results.
    """

    name: str
    title: str
    work: Work
    contenders: tuple[str, ...]
    repetitions: int
    note: str = ""


SEQUENTIAL = ("floor", "bare", "singer", "rest_api_parquet", "airbyte")
OURS = ("sync", "connector")

SCENARIOS: Sequence[Scenario] = (
    Scenario(
        "20k",
        "20,000 recordings into DuckDB, 0 ms a request",
        Work(20_000),
        (*OURS, "warm", *SEQUENTIAL, "rest_api", "tutorial"),
        3,
    ),
    Scenario(
        "200k",
        "200,000 recordings into DuckDB, 0 ms a request",
        Work(200_000),
        (*OURS, "warm", *SEQUENTIAL),
        3,
        "`rest_api` with defaults and the tutorial are left out: 20,000 recordings show their speed. Here "
        "they would take many minutes.",
    ),
    Scenario("50k", "50,000 recordings into DuckDB, 0 ms a request", Work(50_000), OURS, 3),
    Scenario("1m", "1,000,000 recordings into DuckDB, 0 ms a request", Work(1_000_000), (*OURS, "floor"), 2),
    Scenario(
        "postgres",
        "200,000 recordings into Postgres, 0 ms a request",
        Work(200_000, destination="postgres"),
        ("sync", "postgres_floor"),
        3,
    ),
    Scenario(
        "parquet",
        "200,000 recordings into parquet files, 0 ms a request",
        Work(200_000, destination="filesystem"),
        ("sync",),
        2,
    ),
    Scenario(
        "latency",
        "20,000 recordings into DuckDB, 50 ms a request, pages of 100",
        Work(20_000, page_size=100, delay=LATENCY),
        ("sync", "sync_many", "connector", *SEQUENTIAL),
        3,
        "All except the connector request one page after the other. The tutorial is left out: its 2,000 "
        "requests take 100 s of latency alone.",
    ),
    Scenario(
        "budget",
        "66,000 recordings into DuckDB, 600 requests a minute, pages of 100",
        Work(66_000, page_size=100, per_minute=BUDGET),
        ("sync", "bare", "singer", "rest_api_parquet", "airbyte"),
        1,
        "660 pages do not fit into the first minute: beyond 600 the server answers 429, with `Retry-After`. "
        "The connector and Airbyte are configured with the budget; the others have no such setting.",
    ),
)


def choose(
    names: Sequence[str], only: Sequence[str], sizes: Sequence[int], repetitions: int | None, quick: bool
) -> list[Scenario]:
    """Choose scenarios and contenders; an empty argument chooses all.

    Args:
        names: Scenarios.
        only: Contenders.
        sizes: Numbers of recordings.
        repetitions: Instead of the scenarios' own; those that take minutes stay at one.
        quick: Only the small scenarios, once.
    """
    chosen = []
    for scenario in SCENARIOS:
        contenders = tuple(name for name in scenario.contenders if not only or name in only)
        is_chosen = (not names or scenario.name in names) and (not sizes or scenario.work.rows in sizes)
        if quick:
            is_chosen = is_chosen and scenario.name in ("20k", "latency")
        if is_chosen and contenders:
            planned = 1 if quick else scenario.repetitions
            times = planned if planned == 1 else repetitions or planned
            chosen.append(
                Scenario(scenario.name, scenario.title, scenario.work, contenders, times, scenario.note)
            )
    return chosen
