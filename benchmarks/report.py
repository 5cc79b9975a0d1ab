"""Writes RESULTS.md from what was measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median

from benchmarks.audio import HEADS, Fetched, summarize_audio
from benchmarks.contenders import CONTENDERS
from benchmarks.goals import judge
from benchmarks.plan import Scenario
from benchmarks.runs import Result, Summary, summarize
from benchmarks.startup import Startup

INTRODUCTION = """\
Written by `make bench`; every number is from the run named below, none is kept from another.

Every contender loads the same invented company recordings from the same server, which runs in a
process of its own and answers a page in less than a millisecond beyond the latency it was told.
Contenders take turns, those that need more than 30 s twice at most; shown are the median and, in
brackets, the least and the most. **Inside** is without imports, as the contender itself measures
it; **whole** is the process from start to end. **Requests** are pages answered, and how many were
in flight at once. **Peak** is the most resident memory of all processes of the contender together;
**CPU** is theirs, without the server's. After each run the rows and the distinct ids in the
destination are counted: a contender that did not load every recording once is named as wrong."""

WHAT_THEY_DO = """\
What they do is not the same. The connector proves each window complete, merges by key, and loads
the lists and its proofs into tables of their own. `rest_api` merges by key and loads the lists into
tables, and proves nothing. Singer and Airbyte merge by key and keep the lists as JSON. The bare
script, the tutorial and the floor prove nothing, merge nothing, and write one table. Singer imports
while it runs, so it has no inside time; its peak is the sum of tap and target."""

REPEAT = """\
```sh
make bench                                          # everything
.venv/bin/python -m benchmarks --quick              # the small scenarios, once
.venv/bin/python -m benchmarks --only sync,floor --sizes 200000 --repetitions 5
.venv/bin/python -m benchmarks --help
```

Contenders are the scripts in `scripts/`, pinned by the `requirements*.txt` beside them and installed into
`.venv-bench/`. Postgres is expected at 127.0.0.1:5432 (user `postgres`, database `test`). Let the machine be
quiet."""


@dataclass(frozen=True, slots=True)
class Report:
    """All that goes into the results.

    Attributes:
        began: when the run began.
        minutes: how long it took.
        machine: what it ran on.
        versions: of what, by environment.
        scenarios: what was measured.
        results: what came of it.
        startup: how long starting takes, if that was measured.
        audio: how long files take, if that was measured.
        left_out: contenders that were left out, and why.
    """

    began: datetime
    minutes: float
    machine: Sequence[str]
    versions: Mapping[str, Sequence[str]]
    scenarios: Sequence[Scenario]
    results: Sequence[Result]
    startup: Startup | None
    audio: Sequence[Fetched]
    left_out: Mapping[str, str]

    def write(self) -> str:
        """Make the whole text."""
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        yield "# Results of the benchmark\n"
        yield INTRODUCTION
        yield f"\n{WHAT_THEY_DO}\n"
        yield "## Goals\n"
        yield from _table(
            ("goal", "measured", "met"),
            [(goal.text, goal.measured, _MET[goal.met]) for goal in judge(self.results, self.startup)],
        )
        summaries = summarize(list(self.results))
        for scenario in self.scenarios:
            yield f"\n## {scenario.title}\n"
            if scenario.note:
                yield f"{scenario.note}\n"
            found = [(name, summaries.get((name, scenario.work))) for name in scenario.contenders]
            budget = bool(scenario.work.per_minute)
            rows = [_row(name, summary, budget) for name, summary in found if summary]
            yield from _table(_HEADS + (("refused",) if budget else ()), rows)
            yield from (f"\n{label}: {summary.fault}." for label, summary in _faulty(found))
        if self.startup:
            yield from _startup_lines(self.startup)
        if self.audio:
            yield from _audio_lines(self.audio)
        if self.left_out:
            yield "\n## Left out\n"
            yield from (f"- {CONTENDERS[name].label}: {reason}" for name, reason in self.left_out.items())
        yield "\n## Machine and versions\n"
        yield f"- run: {self.began:%Y-%m-%d %H:%M} UTC, {self.minutes:.0f} minutes"
        yield from (f"- {line}" for line in self.machine)
        yield from (f"- {name}: {', '.join(versions)}" for name, versions in self.versions.items())
        yield f"\n## How to repeat\n\n{REPEAT}"


_MET = {True: "yes", False: "**no**", None: "–"}
_HEADS = (
    "contender",
    "inside, s",
    "whole, s",
    "rows a second",
    "requests",
    "in flight",
    "peak, MB",
    "CPU, s",
)


def _faulty(found: Sequence[tuple[str, Summary | None]]) -> Iterator[tuple[str, Summary]]:
    return ((CONTENDERS[name].label, summary) for name, summary in found if summary and summary.fault)


def _row(name: str, summary: Summary, budget: bool) -> tuple[str, ...]:
    rows = summary.results[0].work.rows
    cells = (
        CONTENDERS[name].label,
        _spread(summary.inside),
        _spread(summary.seconds),
        f"{rows / median(summary.seconds):,.0f}" if not summary.fault else "**wrong**",
        f"{summary.requests:,}",
        str(summary.in_flight),
        f"{summary.peak_bytes / 1e6:,.0f}",
        f"{summary.cpu_seconds:.1f}",
    )
    return (*cells, f"{summary.refused:,}") if budget else cells


def _startup_lines(startup: Startup) -> Iterator[str]:
    yield "\n## Starting, and finding nothing to do\n"
    yield (
        "20,000 recordings are loaded before. An idle sync reads the recordings of the lookback again and "
        f"merges them, in {startup.idle_requests} list request(s); in the third row the lookback has none.\n"
    )
    yield from _table(
        ("whole process", "s"),
        [
            ("`vbc --help`", _spread(startup.help)),
            ("idle `vbc sync`", _spread(startup.idle)),
            ("idle `vbc sync`, nothing in the lookback", _spread(startup.quiet)),
            ("`import dlt` and an empty run", _spread(startup.empty)),
        ],
    )


def _audio_lines(fetched: Sequence[Fetched]) -> Iterator[str]:
    mean = fetched[0].size_bytes / max(fetched[0].files, 1) / 1e6
    yield "\n## The audio\n"
    yield (
        f"{fetched[0].files:,} files of {mean:.1f} MB on average into a folder, as whole processes. "
        "What to fetch is known before: `vbc audio` finds it in the warehouse, the others in a list. "
        "`vbc audio` has a file on the disk before it calls it stored; the others leave that to the system.\n"
    )
    yield from _table(HEADS, [summary.cells for summary in summarize_audio(fetched)])


def _spread(seconds: Sequence[float]) -> str:
    if not seconds:
        return "–"
    spread = f" ({min(seconds):.2f}–{max(seconds):.2f})" if len(seconds) > 1 else ""
    return f"{median(seconds):.2f}{spread}"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield f"|{'---|' * len(heads)}"
    yield from (f"| {' | '.join(row)} |" for row in rows)
