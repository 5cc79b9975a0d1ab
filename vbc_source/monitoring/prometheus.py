"""Write a status in Prometheus' text format, as node_exporter's textfile collector reads it.

Format: https://prometheus.io/docs/instrumenting/exposition_formats/; names and units:
https://prometheus.io/docs/practices/naming/.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from vbc_source.monitoring.overview import StatusReport
from vbc_source.monitoring.status import ListStatus, Status
from vbc_source.printable import escape_controls

Sample = tuple[dict[str, str], float]


@dataclass(frozen=True, slots=True)
class _Metric:
    name: str
    text: str
    samples: Sequence[Sample]

    @property
    def kind(self) -> str:
        return "counter" if self.name.endswith("_total") else "gauge"


def write_page(reports: Mapping[str | None, StatusReport]) -> str:
    """Write the status of each tenant on one page, with the label `tenant` where it has a name."""
    metrics: dict[str, _Metric] = {}  # the samples of a metric stand together
    for tenant, report in reports.items():
        for metric in _measure(tenant, report):
            known = metrics.get(metric.name, replace(metric, samples=()))
            metrics[metric.name] = replace(known, samples=(*known.samples, *metric.samples))
    lines: list[str] = []
    for metric in metrics.values():
        if metric.samples:  # a head without samples would read as a metric that stopped
            lines.append(f"# HELP {metric.name} {_escape(metric.text)}")
            lines.append(f"# TYPE {metric.name} {metric.kind}")
            lines += [_write_sample(metric.name, labels, value) for labels, value in metric.samples]
    return "\n".join(lines) + "\n"


def _measure(tenant: str | None, report: StatusReport) -> Iterator[_Metric]:
    status, labels = report.status, {"tenant": tenant} if tenant else {}
    ok = _Metric("vbc_ok", "Whether vbc status exits with 0.", [({}, report.problem is None)])
    metrics = [ok]
    if status:
        labels |= {"pipeline": status.pipeline, "dataset": status.dataset}
        metrics += [*_measure_pipeline(status), *_measure_lists(status.lists), *_measure_runs(status)]
    for metric in metrics:
        yield replace(metric, samples=[(labels | more, value) for more, value in metric.samples])


def _measure_pipeline(status: Status) -> Iterator[_Metric]:
    yield _Metric("vbc_busy", "Whether another process holds the database.", [({}, status.busy)])
    # no sample rather than 0 where the lag is not known: 0 would silence an alarm
    lag: list[Sample] = [] if status.lag_seconds is None else [({}, status.lag_seconds)]
    yield _Metric("vbc_lag_seconds", "The largest lag of all lists.", lag)
    pending = "Load packages that a failed run left for the next one."
    yield _Metric("vbc_pending_packages", pending, [({}, status.pending_packages)])
    audio = [({"status": name}, count) for name, count in sorted(status.audio.items())]
    yield _Metric("vbc_audio_files", "Audio files by their newest status.", audio)
    if status.checks:
        damaged = "Audio files that vbc fixity found damaged, missing or unreadable."
        yield _Metric("vbc_audio_damaged", damaged, [({}, status.checks.damaged)])
        checked, moment = "When vbc fixity last checked a file.", status.checks.last_check.timestamp()
        yield _Metric("vbc_audio_last_check_timestamp_seconds", checked, [({}, moment)])
    gaps = [({"class": name}, count) for name, count in sorted(status.call_gaps.items())]
    yield _Metric("vbc_call_gaps", "Open gaps between calls and recordings, by class.", gaps)


def _measure_lists(lists: Sequence[ListStatus]) -> Iterator[_Metric]:
    labelled = [({"account": item.account_id, "resource": item.resource}, item) for item in lists]
    yield _Metric(
        "vbc_list_last_success_timestamp_seconds",
        "When a list was last read completely.",
        [(labels, item.last_success.timestamp()) for labels, item in labelled],
    )
    yield _Metric(
        "vbc_list_proven_timestamp_seconds",
        "Up to when lists are proven complete without a gap; of users, the one furthest behind.",
        [(labels, item.proven_until.timestamp()) for labels, item in labelled if item.proven_until],
    )
    yield _Metric(
        "vbc_list_oldest_read_timestamp_seconds",
        "When the list was last read that has waited longest for its turn.",
        [(labels, item.oldest_read.timestamp()) for labels, item in labelled if item.oldest_read],
    )
    for name, field, text in (
        ("vbc_list_lag_seconds", "lag_seconds", "How far behind now lists were read; the largest of users."),
        ("vbc_list_rows", "rows", "Recordings in the table."),
        ("vbc_lists", "lists", "Lists that are read: one, or one for each user."),
        ("vbc_list_unreadable", "unreadable", "Users whose list may not be read, or no longer exists."),
        ("vbc_list_never_read", "never_read", "Users whose list is to be read, and never was completely."),
        ("vbc_list_requests_total", "requests", "List requests of all runs."),
        ("vbc_list_rows_read_total", "rows_read", "Rows of all runs; those of the lookback count each time."),
        ("vbc_list_windows_total", "windows", "Windows that were read completely."),
    ):
        values = [(labels, getattr(item, field)) for labels, item in labelled]
        yield _Metric(name, text, [(labels, value) for labels, value in values if value is not None])


def _measure_runs(status: Status) -> Iterator[_Metric]:
    runs = status.runs
    results = [({"result": "ok"}, runs.succeeded), ({"result": "failed"}, runs.failed)]
    yield _Metric("vbc_runs_total", "Runs on this machine.", results)
    failed = "Runs that failed since the last successful one."
    yield _Metric("vbc_runs_failed_in_a_row", failed, [({}, runs.failed_in_a_row)])
    for name, moment in (("success", runs.last_success), ("failure", runs.last_failure)):
        text = f"Time of the last {name} of a run on this machine."
        samples: list[Sample] = [({}, moment)] if moment else []
        yield _Metric(f"vbc_run_last_{name}_timestamp_seconds", text, samples)


def _write_sample(name: str, labels: dict[str, str], value: float) -> str:
    pairs = (f'{label}="{_escape(text)}"' for label, text in labels.items())
    # also what is true or false, as 1.0 or 0.0: the format has numbers alone
    return f"{name}{{{','.join(pairs)}}} {float(value)!r}"


def _escape(text: str) -> str:
    # quotes are escaped in labels alone, and no help text has any
    return escape_controls(text).replace("\\", "\\\\").replace('"', '\\"')
