"""An export job, and how far it has come. Pure: rows and instants in, values out.

`complete` is the only status that the vendor documents, so that every other is read by its meaning.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from vbc_source.api.endpoints import read_place
from vbc_source.api.faults import redact
from vbc_source.windows import read_instant

State = Literal["waiting", "ready", "expired", "failed"]
_DONE = ("complete", "completed", "done", "finished", "success", "succeeded")
_FAILED = ("fail", "error", "cancel", "abort", "reject")


@dataclass(frozen=True, slots=True)
class Job:
    """An export job, as the API has it now.

    Attributes:
        id: the API's.
        status: in the API's words.
        completed: how many files are in its zip so far, or None.
        total: how many there are to be, or None.
        link: where its zip is, or None.
        valid_until: when its zip ceases to be there, or None.
        account: whose it is, or None where the API does not say.
    """

    id: str
    status: str
    completed: int | None
    total: int | None
    link: str | None
    valid_until: datetime | None
    account: str | None = None

    def judge(self, now: datetime) -> State:
        """Say how far the job has come.

        Args:
            now: a zip whose time is over is expired, whatever the status says.
        """
        said = self.status.strip().lower()
        if "expire" in said or (self.valid_until is not None and self.valid_until <= now):
            return "expired"
        if said in _DONE or (self.link and (said.startswith("partial") or self._is_full)):
            return "ready"
        return "failed" if any(word in said for word in _FAILED) else "waiting"

    @property
    def _is_full(self) -> bool:
        return self.total is not None and 0 < self.total == self.completed

    @property
    def progress(self) -> str:
        """Its status and counts, for people."""
        counts = f", {self.completed or 0:,} of {self.total:,} files" if self.total is not None else ""
        return f"{redact(self.status) or 'without a status'}{counts}"


def read_job(row: Mapping[str, Any]) -> Job:
    """Read a job as the API lists it.

    Raises:
        ValueError: it has no id.
    """
    if row.get("id") in (None, ""):
        raise ValueError("a job without an id")
    link, links = row.get("download_url"), row.get("_links")
    account, _ = read_place((json.dumps(links),)) if links else (None, None)
    return Job(
        str(row["id"]),
        str(row.get("status") or ""),
        _read_count(row.get("files_completed")),
        _read_count(row.get("files_total")),
        link if isinstance(link, str) and link else None,
        _read_moment(row.get("valid_until")),
        account,
    )


def _read_count(value: Any) -> int | None:
    return int(value) if str(value).isdecimal() else None


def _read_moment(value: Any) -> datetime | None:
    try:
        return read_instant(value) if value else None
    except (ValueError, TypeError, AttributeError):
        return None
