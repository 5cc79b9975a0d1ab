"""What an export is to hold: the API's own filters, as its body has them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from vbc_source.filters import check_filters
from vbc_source.windows import format_instant


def make_filters(
    start: datetime | None = None,
    end: datetime | None = None,
    direction: str | None = None,
    extension: str | None = None,
    min_duration: float | None = None,
    max_duration: float | None = None,
) -> Mapping[str, Any]:
    """Make the body of an export.

    Args:
        start: oldest `start` of a recording.
        end: newest `start`.
        direction: `INBOUND`, `OUTBOUND` or `INTRA_PBX`.
        extension: only of this extension.
        min_duration: seconds; the API takes milliseconds.
        max_duration: likewise.

    Raises:
        SettingsError: a value is malformed, or excludes everything; the message names it.
    """
    given = {
        "call_direction": direction,
        "extension": extension,
        "duration:gte": None if min_duration is None else round(min_duration * 1000),
        "duration:lte": None if max_duration is None else round(max_duration * 1000),
        "start:gte": start,
        "start:lte": end,
    }
    found = check_filters({name: value for name, value in given.items() if value is not None})
    bounds = {"start:gte": found.start, "start:lte": found.end}
    return {**found.params, **{name: format_instant(bound) for name, bound in bounds.items() if bound}}
