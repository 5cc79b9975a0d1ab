"""The ledger of holds: since when a recording is held, by which entry, and when it was released. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

import pyarrow as pa

from vbc_source.recordings import RECORDING_KEY, RecordingType
from vbc_source.retention.legal_hold import LegalHold, list_names
from vbc_source.schema.columns import INSTANT

HOLDS = "recording_holds"
HOLD_KEY = (*RECORDING_KEY, "held_at")
UNKNOWN_CALL = "unknown call"  # the place of a recording without a call id, which any entry may mean
SCHEMA = pa.schema(
    [
        *(pa.field(name, pa.string(), nullable=False) for name in RECORDING_KEY[:3]),
        pa.field("recording_id", pa.int64(), nullable=False),
        pa.field("held_at", INSTANT, nullable=False),
        pa.field("place", pa.string()),
        pa.field("released_at", INSTANT),
    ]
)


@dataclass(frozen=True, slots=True)
class Hold:
    """A recording on hold; `place` is that of the entry in the hold list, such as `line 3`."""

    account_id: str
    recording_type: RecordingType
    user_id: str
    recording_id: int
    held_at: datetime
    place: str
    released_at: datetime | None = None


class HoldPlaces:
    """Finds the entry of a hold list that holds a recording."""

    def __init__(self, hold: LegalHold) -> None:
        self._hold = hold
        # reversed, so that of entries with the same name the first gives the place
        self._places = {name: entry.place for entry in reversed(hold.entries) for name in entry.names}

    def find(self, recording_id: int, *call_ids: str | None) -> str | None:
        """Return the place of the entry; None if the recording is not held."""
        if not self._hold.holds(recording_id, *call_ids):
            return None
        names = [str(recording_id), *(name for id_ in call_ids if id_ for name in list_names(id_))]
        return next((self._places[name] for name in names if name in self._places), UNKNOWN_CALL)


def make_holds_table(rows: Sequence[Hold]) -> pa.Table:
    """Make an Arrow table of the rows."""
    return pa.Table.from_pylist([asdict(row) for row in rows], SCHEMA)


def write_open_holds() -> str:
    """Write the query of holds that are not released: a key, `held_at` and `place`."""
    key = ", ".join(HOLD_KEY)
    # append-only destinations have a row of the hold, and another one of its release
    newest = f"SELECT {key}, max(place) AS place, max(released_at) AS released_at FROM {HOLDS} GROUP BY {key}"
    return f"""
        SELECT {", ".join(RECORDING_KEY)}, max(held_at) AS held_at, max(place) AS place
        FROM ({newest}) AS holds WHERE released_at IS NULL GROUP BY {", ".join(RECORDING_KEY)}"""
