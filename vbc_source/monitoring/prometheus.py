"""A status in Prometheus' text format, as node_exporter's textfile collector takes it.

Format: https://prometheus.io/docs/instrumenting/exposition_formats/; names and units:
https://prometheus.io/docs/practices/naming/.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from vbc_source.monitoring.status import Status

Sample = tuple[dict[str, str], float]


@dataclass(frozen=True, slots=True)
class _Metric:
    name: str
    kind: Literal["gauge", "counter"]
    text: str
    samples: Iterable[Sample]


def write_prometheus(status: Status, *, ok: bool) -> str:
    """Write a status; `ok` is what the command's exit status says."""
    whose = {"pipeline": status.pipeline, "dataset": status.dataset}
    lines: list[str] = []
    for metric in _measure(status, ok):
        samples = [_write_sample(metric.name, whose | labels, value) for labels, value in metric.samples]
        if samples:
            lines += [f"# HELP {metric.name} {_escape(metric.text)}", f"# TYPE {metric.name} {metric.kind}"]
            lines += samples
    return "\n".join(lines) + "\n"


def _measure(status: Status, ok: bool) -> Iterator[_Metric]:
    runs = status.runs
    lists = [({"account": told.account_id, "resource": told.resource}, told) for told in status.lists]
    yield _Metric("vbc_ok", "gauge", "Whether vbc status ends with 0.", [({}, ok)])
    yield _Metric("vbc_busy", "gauge", "Whether another process holds the database.", [({}, status.busy)])
    yield _Metric(
        "vbc_list_last_success_timestamp_seconds",
        "gauge",
        "When a list was last read and proven complete.",
        [(labels, told.last_success.timestamp()) for labels, told in lists],
    )
    yield _Metric(
        "vbc_list_lag_seconds",
        "gauge",
        "How far behind now lists are proven complete; of users, the one furthest behind.",
        [(labels, told.lag_seconds) for labels, told in lists],
    )
    yield _Metric(
        "vbc_lag_seconds",
        "gauge",
        "The largest lag of all lists.",
        [] if status.lag_seconds is None else [({}, status.lag_seconds)],
    )
    for name, text in (
        ("rows", "Recordings in the table."),
        ("lists", "Lists that are read: one, or one for each user."),
        ("unreadable", "Users whose list may not be read, or is gone."),
    ):
        full = "vbc_lists" if name == "lists" else f"vbc_list_{name}"
        yield _Metric(full, "gauge", text, [(labels, getattr(told, name)) for labels, told in lists])
    for name, text in (
        ("requests", "List requests that were sent."),
        ("rows_read", "Recordings that were read, those of the lookback again and again."),
        ("windows", "Windows that were proven complete."),
    ):
        samples = [(labels, getattr(told, name)) for labels, told in lists]
        yield _Metric(f"vbc_list_{name}_total", "counter", text, samples)
    yield _Metric(
        "vbc_runs_total",
        "counter",
        "Runs on this machine.",
        [({"result": "ok"}, runs.succeeded), ({"result": "failed"}, runs.failed)],
    )
    yield _Metric(
        "vbc_runs_failed_in_a_row", "gauge", "Failed since the last good one.", [({}, runs.failed_in_a_row)]
    )
    for name, moment in (("success", runs.last_success), ("failure", runs.last_failure)):
        text = f"When the last {name} of a run on this machine was."
        samples = [({}, moment)] if moment else []
        yield _Metric(f"vbc_run_last_{name}_timestamp_seconds", "gauge", text, samples)
    pending = "Load packages that a failed run left for the next one."
    yield _Metric("vbc_pending_packages", "gauge", pending, [({}, status.pending_packages)])
    audio = [({"status": name}, count) for name, count in sorted(status.audio.items())]
    yield _Metric("vbc_audio_files", "gauge", "Audio files by what became of them.", audio)


def _write_sample(name: str, labels: dict[str, str], value: float) -> str:
    written = ",".join(
        f'{label}="{_escape(text).replace(chr(34), chr(92) + chr(34))}"' for label, text in labels.items()
    )
    return f"{name}{{{written}}} {float(value)!r}"


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")
