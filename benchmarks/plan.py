"""What is measured: scenarios, each with its work and its contenders, and in which order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.contenders import Work

BUDGET = 600
LATENCY = 0.05


@dataclass(frozen=True, slots=True)
class Scenario:
    """Contenders that do the same work, one after the other, and that again.

    Attributes:
        name: as `--scenarios` takes it.
        title: as the results show it.
        work: what they do.
        contenders: who, by name.
        repetitions: how often.
        note: what a reader should know.
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
        (*OURS, *SEQUENTIAL, "rest_api", "tutorial"),
        3,
    ),
    Scenario(
        "200k",
        "200,000 recordings into DuckDB, 0 ms a request",
        Work(200_000),
        (*OURS, *SEQUENTIAL),
        3,
        "`rest_api` as it comes and the tutorial are left out: at 20,000 they say enough, and here they "
        "would take many minutes.",
    ),
    Scenario("50k", "50,000 recordings into DuckDB, 0 ms a request", Work(50_000), ("sync",), 3),
    Scenario("1m", "1,000,000 recordings into DuckDB, 0 ms a request", Work(1_000_000), ("sync", "floor"), 2),
    Scenario(
        "postgres",
        "200,000 recordings into Postgres, 0 ms a request",
        Work(200_000, destination="postgres"),
        ("sync",),
        2,
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
        "All but the connector ask for one page after the other. The tutorial is left out: its 2,000 "
        "requests take 100 s of waiting alone.",
    ),
    Scenario(
        "budget",
        "66,000 recordings into DuckDB, 600 requests a minute, pages of 100",
        Work(66_000, page_size=100, per_minute=BUDGET),
        ("sync", "bare", "singer", "rest_api_parquet", "airbyte"),
        1,
        "660 pages cannot be had in the first minute: beyond 600 the server answers 429, and says in "
        "`Retry-After` when it will answer again. The connector and Airbyte were told of the budget, "
        "which the others cannot be.",
    ),
)


def choose(
    names: Sequence[str], only: Sequence[str], sizes: Sequence[int], repetitions: int | None, quick: bool
) -> list[Scenario]:
    """Choose scenarios and contenders; what is empty chooses all.

    Args:
        names: scenarios.
        only: contenders.
        sizes: numbers of recordings.
        repetitions: how often, instead of the plan's own; what takes minutes is done once all the same.
        quick: the small scenarios alone, once.
    """
    chosen = []
    for scenario in SCENARIOS:
        contenders = tuple(name for name in scenario.contenders if not only or name in only)
        wanted = (not names or scenario.name in names) and (not sizes or scenario.work.rows in sizes)
        if quick:
            wanted = wanted and scenario.name in ("20k", "latency")
        if wanted and contenders:
            planned = 1 if quick else scenario.repetitions
            times = planned if planned == 1 else repetitions or planned
            chosen.append(
                Scenario(scenario.name, scenario.title, scenario.work, contenders, times, scenario.note)
            )
    return chosen
