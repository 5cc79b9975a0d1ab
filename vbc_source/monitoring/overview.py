"""Write the status of many tenants as one table. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from vbc_source.load.progress import write_time
from vbc_source.monitoring.status import Status
from vbc_source.printable import align_columns


@dataclass(frozen=True, slots=True)
class StatusReport:
    """The status of one pipeline, judged.

    Attributes:
        status: The status; None where it could not be read.
        problem: What is wrong; None where nothing is.
    """

    status: Status | None
    problem: str | None = None


def write_table(reports: Mapping[str, StatusReport]) -> list[str]:
    """Write a row for each tenant: how far behind now it is, what it holds, what is wrong."""
    rows: list[tuple[str, ...]] = [("TENANT", "LAG", "RECORDINGS", "LAST SUCCESS (UTC)", "FAILED", "STATE")]
    rows += [(name, *_write_cells(report)) for name, report in reports.items()]
    return list(align_columns(rows))


def _write_cells(report: StatusReport) -> Iterator[str]:
    status = report.status
    if status is None:
        yield from ("-", "-", "-", "-", report.problem or "")
        return
    moments = [item.last_success for item in status.lists]
    yield "-" if status.lag_seconds is None else write_time(status.lag_seconds)
    yield "-" if status.busy else f"{sum(item.rows for item in status.lists):,}"
    yield f"{max(moments):%Y-%m-%d %H:%M}" if moments else "-"
    yield str(status.runs.failed_in_a_row)
    notes = [f"forbidden: {text}" for text in status.forbidden] + ["busy"] * status.busy
    yield "; ".join([report.problem or "ok", *notes])
