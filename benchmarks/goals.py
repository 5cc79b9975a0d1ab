"""The goals, each judged by ratios of runs of the same repetition."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from statistics import median

from benchmarks.contenders import CONTENDERS, Work
from benchmarks.plan import SCENARIOS
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

    def slower(
        self, text: str, peer: str, scenario: str, most: float, *, inside: bool, aim: str = ""
    ) -> Goal:
        """Judge a goal of the form: at most so many times as long as a peer."""
        ratios = self.compare("connector" if inside else "sync", peer, scenario, inside=inside)
        return _judge(text, ratios, lambda ratio: ratio <= most, f"{{:.2f}} times as long{aim}")

    def faster(self, text: str, peer: str, scenario: str, least: float, *, inside: bool) -> Goal:
        """Judge a goal of the form: at least so many times as fast as a peer."""
        ratios = [
            1 / ratio
            for ratio in self.compare("connector" if inside else "sync", peer, scenario, inside=inside)
        ]
        return _judge(text, ratios, lambda ratio: ratio >= least, "{:.1f} times as fast")

    def latency(self, *, inside: bool) -> Goal:
        """Judge the goal on latency by the fastest sequential peer that has the time in question."""
        ours, where = ("connector", "inside the run") if inside else ("sync", "whole process")
        text = f"50 ms a request, pages of 100, {where}: at least 5 times faster than any sequential peer"
        best: tuple[float, str, list[float]] | None = None
        for peer in LATENCY_PEERS:
            ratios = [1 / ratio for ratio in self.compare(ours, peer, "latency", inside=inside)]
            if ratios and (best is None or median(ratios) < best[0]):
                best = median(ratios), peer, ratios
        if best is None:
            return Goal(text, NOT_MEASURED, None)
        label = f"{{:.1f}} times as fast as the fastest, {CONTENDERS[best[1]].label}"
        return _judge(text, best[2], lambda ratio: ratio >= 5, label)

    def requests(self, text: str, scenarios: Sequence[str]) -> Goal:
        """Judge the number of requests by the worst of these scenarios."""
        ratios = [
            (summary.requests / ceil(work.rows / work.page_size), work)
            for (name, work), summary in self.summaries.items()
            if name == "sync" and work in [WORKS[scenario] for scenario in scenarios]
        ]
        if not ratios:
            return Goal(text, NOT_MEASURED, None)
        worst, work = max(ratios, key=lambda pair: pair[0])
        label = f"{worst - 1:+.1%} at worst ({work.rows:,} in pages of {work.page_size:,})"
        return Goal(text, label, worst <= 1.05)

    def memory(self) -> list[Goal]:
        """Judge peak memory at a million recordings: against 50,000, and alone."""
        small, large = self.find("sync", "50k"), self.find("sync", "1m")
        texts = (
            "Peak memory at 1,000,000 at most 1.25 times that at 50,000",
            "Peak memory at 1,000,000 under 400 MB",
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
        """Judge `vbc --help` and an idle sync."""
        texts = (
            "`vbc --help` under 0.3 s",
            "Idle `vbc sync`: at most 1.3 times `import dlt` and an empty dlt run",
        )
        if self.startup is None:
            return [Goal(text, NOT_MEASURED, None) for text in texts]
        helped = median(self.startup.help)
        ratios = [idle / empty for idle, empty in zip(self.startup.idle, self.startup.empty, strict=True)]
        return [
            Goal(texts[0], f"{helped:.2f} s", helped < 0.3),
            _judge(texts[1], ratios, lambda ratio: ratio <= 1.3, "{:.2f} times as long"),
        ]


def _judge(text: str, ratios: Sequence[float], is_met: Callable[[float], bool], label: str) -> Goal:
    if not ratios:
        return Goal(text, NOT_MEASURED, None)
    middle = median(ratios)
    spread = f" ({min(ratios):.2f}–{max(ratios):.2f})" if len(ratios) > 1 else ""
    return Goal(text, label.format(middle) + spread, is_met(middle))


def judge(results: Sequence[Result], startup: Startup | None) -> list[Goal]:
    """Judge all goals."""
    judge_ = _Judge(results, startup)
    inside, whole = "200,000 at 0 ms, inside the run", "200,000 at 0 ms, whole process"
    return [
        judge_.slower(
            f"{inside}: at most 2.5 times the floor", "floor", "200k", 2.5, inside=True, aim=" (aim: 1.5)"
        ),
        judge_.faster(
            f"{inside}: at least 6 times faster than tuned `rest_api`",
            "rest_api_parquet",
            "200k",
            6,
            inside=True,
        ),
        judge_.faster(
            "20,000 at 0 ms, inside the run: at least 8 times faster than `rest_api` with defaults",
            "rest_api",
            "20k",
            8,
            inside=True,
        ),
        judge_.slower(f"{whole}: no slower than the bare script", "bare", "200k", 1, inside=False),
        judge_.faster(f"{whole}: 3 times faster than Singer", "singer", "200k", 3, inside=False),
        judge_.slower(
            "20,000 at 0 ms, whole process: no slower than Singer", "singer", "20k", 1, inside=False
        ),
        judge_.latency(inside=True),
        judge_.latency(inside=False),
        judge_.requests("Requests within 5 % of rows / page size, at 50 ms and pages of 100", ["latency"]),
        judge_.requests("Requests within 5 % of rows / page size, in every scenario", [*WORKS]),
        *judge_.memory(),
        *judge_.starting(),
    ]
