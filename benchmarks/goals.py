"""The goals, each judged by ratios of runs of the same repetition."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from statistics import median

from benchmarks.contenders import CONTENDERS, Work
from benchmarks.plan import OURS, SCENARIOS
from benchmarks.runs import Result, Summary, summarize
from benchmarks.startup import Startup

WORKS: Mapping[str, Work] = {scenario.name: scenario.work for scenario in SCENARIOS}
LATENCY_PEERS = ("bare", "singer", "rest_api_parquet", "airbyte")
NOT_MEASURED = "not measured"


@dataclass(frozen=True, slots=True)
class Goal:
    """A goal and its result.

    Attributes:
        text: The goal.
        measured: The measured value, or that there is none.
        met: Whether it is met; None if it was not measured.
    """

    text: str
    measured: str
    met: bool | None


class _Judge:
    """Judges the goals of one run of the benchmark."""

    def __init__(self, results: Sequence[Result], startup: Startup | None) -> None:
        self.valid = [result for result in results if not result.fault]
        self.summaries = summarize(self.valid)
        self.startup = startup

    def find(self, contender: str, scenario: str) -> Summary | None:
        """Return the valid runs of a contender in a scenario."""
        return self.summaries.get((contender, WORKS[scenario]))

    def compare(self, ours: str, peer: str, scenario: str, *, inside: bool) -> list[float]:
        """Return our time divided by the peer's, for each repetition that both have."""
        times = [
            {
                result.repetition: seconds
                for result in self.valid
                if (result.contender, result.work) == (name, WORKS[scenario])
                and (seconds := result.inside if inside else result.measured.seconds) is not None
            }
            for name in (ours, peer)
        ]
        return [ours_took / times[1][turn] for turn, ours_took in times[0].items() if turn in times[1]]

    def slower(self, text: str, ours: str, peer: str, scenario: str, most: float, *, inside: bool) -> Goal:
        """Judge a goal of the form: at most so many times as long as a peer."""
        ratios = self.compare(ours, peer, scenario, inside=inside)
        text = f"{text}: at most {most} times {_LABELS[peer]}"
        return _judge(_name(ours, text), ratios, lambda ratio: ratio <= most, "{:.2f} times as long")

    def faster(self, text: str, ours: str, peer: str, scenario: str, least: float) -> Goal:
        """Judge a goal of the form: inside the run at least so many times as fast as a peer."""
        ratios = [1 / ratio for ratio in self.compare(ours, peer, scenario, inside=True)]
        text = f"{text}: at least {least} times faster than {_LABELS[peer]}"
        return _judge(_name(ours, text), ratios, lambda ratio: ratio >= least, "{:.1f} times as fast")

    def latency(self, ours: str, least: float, *, inside: bool) -> Goal:
        """Judge the goal on latency by the fastest sequential peer that has the time in question."""
        where = "inside" if inside else "whole process"
        text = f"50 ms a request, pages of 100, {where}: at least {least} times faster than a sequential peer"
        best: tuple[float, str, list[float]] | None = None
        for peer in LATENCY_PEERS:
            ratios = [1 / ratio for ratio in self.compare(ours, peer, "latency", inside=inside)]
            if ratios and (best is None or median(ratios) < best[0]):
                best = median(ratios), peer, ratios
        if best is None:
            return Goal(_name(ours, text), NOT_MEASURED, None)
        label = f"{{:.1f}} times as fast as the fastest, {CONTENDERS[best[1]].label}"
        return _judge(_name(ours, text), best[2], lambda ratio: ratio >= least, label)

    def requests(self, ours: str) -> Goal:
        """Judge the number of requests by the worst of all scenarios."""
        text = _name(ours, "requests within 5 % of rows / page size, in every scenario")
        ratios = [
            (summary.requests / ceil(work.rows / work.page_size), work)
            for (name, work), summary in self.summaries.items()
            if name == ours
        ]
        if not ratios:
            return Goal(text, NOT_MEASURED, None)
        worst, work = max(ratios, key=lambda pair: pair[0])
        label = f"{worst - 1:+.1%} at worst ({work.rows:,} in pages of {work.page_size:,})"
        return Goal(text, label, worst <= 1.05)

    def memory(self, ours: str) -> list[Goal]:
        """Judge peak memory at a million recordings: against 50,000, and alone."""
        small, large = self.find(ours, "50k"), self.find(ours, "1m")
        texts = (
            _name(ours, "peak memory at 1,000,000 at most 1.25 times that at 50,000"),
            _name(ours, "peak memory at 1,000,000 under 400 MB"),
        )
        if large is None:
            return [Goal(text, NOT_MEASURED, None) for text in texts]
        peak = large.peak_bytes / 1e6
        growth = Goal(texts[0], NOT_MEASURED, None)
        if small is not None:
            ratio = large.peak_bytes / small.peak_bytes
            label = f"{ratio:.2f} times ({peak:.0f} MB against {small.peak_bytes / 1e6:.0f} MB)"
            growth = Goal(texts[0], label, ratio <= 1.25)
        return [growth, Goal(texts[1], f"{peak:.0f} MB", peak < 400)]

    def starting(self) -> list[Goal]:
        """Judge `vbc --help` and idle runs."""
        help_text, idle_text = (
            "`vbc --help` under 0.2 s",
            "idle: at most 1.2 times `import dlt` and an empty run",
        )
        names = {ours: _name(ours, idle_text) for ours in OURS}
        if self.startup is None:
            return [Goal(text, NOT_MEASURED, None) for text in (help_text, *names.values())]
        helped = median(self.startup.help)
        idle = {"sync": self.startup.idle, "connector": self.startup.public}
        return [
            Goal(help_text, f"{helped:.2f} s", helped < 0.2),
            *(
                _judge(
                    text,
                    [took / empty for took, empty in zip(idle[ours], self.startup.empty, strict=True)],
                    lambda ratio: ratio <= 1.2,
                    "{:.2f} times as long",
                )
                for ours, text in names.items()
            ),
        ]


_LABELS = {
    "floor": "the floor",
    "postgres_floor": "the floor",
    "rest_api": "`rest_api` with defaults",
    "rest_api_parquet": "tuned `rest_api`",
    "bare": "the bare script",
    "singer": "Singer",
}


def _name(ours: str, text: str) -> str:
    return f"{CONTENDERS[ours].label}, {text}"


def _judge(text: str, ratios: Sequence[float], is_met: Callable[[float], bool], label: str) -> Goal:
    if not ratios:
        return Goal(text, NOT_MEASURED, None)
    middle = median(ratios)
    spread = f" ({min(ratios):.2f}–{max(ratios):.2f})" if len(ratios) > 1 else ""
    return Goal(text, label.format(middle) + spread, is_met(middle))


def judge(results: Sequence[Result], startup: Startup | None) -> list[Goal]:
    """Judge all goals: each for the command and for the public API, with the whole process as it is cold."""
    judge_ = _Judge(results, startup)
    goals = []
    for ours in OURS:
        goals += [
            judge_.slower("200,000 at 0 ms, inside", ours, "floor", "200k", 1.5, inside=True),
            judge_.faster("200,000 at 0 ms, inside", ours, "rest_api_parquet", "200k", 10),
            judge_.faster("20,000 at 0 ms, inside", ours, "rest_api", "20k", 15),
            judge_.slower("200,000 at 0 ms, whole process", ours, "bare", "200k", 0.7, inside=False),
            judge_.slower("20,000 at 0 ms, whole process", ours, "singer", "20k", 0.6, inside=False),
            judge_.latency(ours, 6, inside=True),
            judge_.latency(ours, 5, inside=False),
            judge_.requests(ours),
            *judge_.memory(ours),
        ]
    postgres = judge_.slower(
        "200,000 into Postgres, inside", "sync", "postgres_floor", "postgres", 1.5, inside=True
    )
    return [*goals, postgres, *judge_.starting()]
