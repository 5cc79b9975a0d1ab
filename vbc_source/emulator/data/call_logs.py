"""Call logs of an account, a row for each leg: calls of its recordings, and others beside them."""

from __future__ import annotations

import heapq
import json
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from vbc_source.emulator.data.calls import draw_call_id, draw_duration
from vbc_source.emulator.data.dates import format_report_time, parse_timestamp
from vbc_source.emulator.data.environment import Environment
from vbc_source.emulator.data.people import Fields, draw_number
from vbc_source.emulator.data.selection import PageSlice, Query, select_page
from vbc_source.emulator.data.stored_recording import StoredRecording

REPORT_DIRECTIONS = ("Inbound", "Outbound")
DEFAULT_GAPS = 0.002

_LAG_SECONDS = (480, 780)  # logs appear 8 to 13 minutes after the call
_UNRECORDED = 0.35  # calls without a recording, for each that has one
_RINGING = 0.15  # calls that rang at another extension first
_TRANSFERRED = 0.05  # calls that were transferred while they were recorded
_PARTY = ("device_name", "user_full_name", "user", "sip_id", "extension")
_encode = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class _Parties:
    """The users of an account by extension, to name the parties of a call."""

    users: Mapping[int, Fields]

    def describe(self, prefix: str, extension: int | None) -> Fields:
        """Return the fields of one party; null where it is outside of the account."""
        if extension is None:
            return {f"{prefix}_{name}": None for name in _PARTY}
        user = self.users.get(extension, {})
        sip = f"VH{zlib.crc32(str(extension).encode()) % 10_000_000:07d}"
        values = (
            f"Desk {extension}",
            f"{user.get('first_name', 'User')} {user.get('last_name', extension)}",
            user.get("login_name", f"user{extension}"),
            sip,
            extension,
        )
        return {f"{prefix}_{name}": value for name, value in zip(_PARTY, values, strict=True)}


class CallLogs:
    """Call logs of one account, one row for each leg, sorted by start. Thread-safe.

    They are generated on first access, from the recordings that exist then; those of later recordings are
    added by `add`. Changes here do not change recordings, nor the other way round: that is how a test plants
    a gap.
    """

    def __init__(
        self,
        environment: Environment,
        seed: int,
        gaps: float,
        read_recordings: Callable[[], Iterable[Fields]],
        read_users: Callable[[], Iterable[Fields]],
    ) -> None:
        """Create a store that is filled on first access.

        Args:
            environment: Address, clock and lock of the gateway.
            seed: Equal seeds generate equal logs for equal recordings.
            gaps: Share of the recorded calls that are not flagged as recorded; and as many calls are flagged
                without a recording.
            read_recordings: Reads all recordings of the account, also those not visible yet.
            read_users: Reads the users of the account.
        """
        self._environment, self._lock = environment, environment.lock
        self._seed, self._gaps = seed, gaps
        self._read_recordings, self._read_users = read_recordings, read_users
        self._rng = Random(f"{seed}/call logs")
        self._rows: list[StoredRecording] = []
        self._starts: list[int] = []
        self._hidden: dict[str, StoredRecording] = {}
        self._queue: list[tuple[float, str]] = []
        self._legs: dict[str, list[str]] = {}  # the keys of each call's rows
        self._parties = _Parties({})
        self._generated = False

    def __len__(self) -> int:
        """Count the visible rows."""
        with self._lock:
            self._prepare()
            return len(self._rows)

    def all(self) -> list[Fields]:
        """Decode the visible rows, newest start first."""
        with self._lock:
            self._prepare()
            return [row.decode() for row in reversed(self._rows)]

    def add(self, id: str | None = None, **fields: Any) -> Fields:  # noqa: A002 - the API's name
        """Add a leg of a call that is visible at once; a new call unless its id is given.

        Args:
            id: Id of the call.
            **fields: Kept unchanged; the others are generated to match them.

        Returns:
            The row as the API lists it.
        """
        with self._lock:
            self._prepare()
            length = draw_duration(self._rng) // 1000
            length = int(fields.get("length") or length)
            # so long ago that its log has had time to appear
            start = int(self._environment.clock()) - length - _LAG_SECONDS[1]
            made = {**self._make_unrecorded(self._rng, start, length), **fields}
            row = self._store({**made, "id": id or made["id"]}, self._environment.clock())
            self._insert(row)
            return row.decode()

    def change(self, id: str, **fields: Any) -> None:  # noqa: A002
        """Change fields of all legs of a call.

        Raises:
            KeyError: There is no such call.
        """
        with self._lock:
            self._prepare()
            for key in list(self._legs[id]):
                old = self._remove(key)
                changed = {**old.decode(), **fields}
                new = replace(old, start=_read_start(changed), body=_encode(changed).encode())
                self._place(new)

    def delete(self, id: str) -> None:  # noqa: A002
        """Remove a call with all its legs, or the leg of a key that `pick` returned.

        Raises:
            KeyError: There is no such call.
        """
        with self._lock:
            self._prepare()
            for key in [id] if "/" in id else list(self._legs[id]):
                self._remove(key)
                self._legs[key.rsplit("/", 1)[0]].remove(key)

    def hold(self, id: str, until: float) -> None:  # noqa: A002
        """Hide all legs of a call until a moment in epoch seconds.

        Raises:
            KeyError: There is no such call.
        """
        with self._lock:
            self._prepare()
            for key in self._legs[id]:
                self._place(replace(self._remove(key), visible_at=until))

    def pick(self, rng: Random) -> StoredRecording | None:
        """Draw a visible row."""
        with self._lock:
            self._prepare()
            return rng.choice(self._rows) if self._rows else None

    def select(
        self, query: Query, page: PageSlice, rng: Random, *, shuffled: bool = False
    ) -> tuple[int, list[StoredRecording]]:
        """Return the number of rows that match a query, and those of one page."""
        with self._lock:
            self._prepare()
            return select_page(self._rows, self._starts, query, page, rng, shuffled=shuffled)

    def _prepare(self) -> None:
        """Generate the rows on first access, and show the hidden ones whose time has come."""
        now = self._environment.clock()
        if not self._generated:
            self._generated = True
            self._parties = _Parties(_index_users(self._read_users()))
            rows = [self._store(fields, at) for fields, at in self._generate()]
            rows.sort(key=lambda row: row.start)
            self._rows = [row for row in rows if row.visible_at <= now]
            self._starts = [row.start for row in self._rows]
            for row in rows:
                if row.visible_at > now:
                    self._place(row)
        while self._queue and self._queue[0][0] <= now:
            visible_at, key = heapq.heappop(self._queue)
            # stale if the row was deleted, changed or held again since
            row_due = self._hidden.get(key)
            if row_due is not None and row_due.visible_at == visible_at:
                self._insert(self._hidden.pop(key))

    def _generate(self) -> Iterator[tuple[Fields, float]]:
        seen: set[str] = set()
        for recording in self._read_recordings():
            call_id, milliseconds = recording.get("call_id"), parse_timestamp(recording.get("start"))
            if not isinstance(call_id, str) or milliseconds is None or call_id in seen:
                continue
            seen.add(call_id)  # a call can have several recordings
            # a generator for each call: one recording more changes no other. `hash` differs by process
            rng = Random(zlib.crc32(f"{self._seed}/{call_id}".encode()))
            start, length = milliseconds // 1000, int(recording.get("duration") or 0) // 1000
            visible_at = start + length + rng.uniform(*_LAG_SECONDS)
            # one draw for both kinds of gap: the lowest lose their flag, the highest get a flagged call
            # without a recording beside them
            chance = rng.random()
            for leg in self._make_legs(rng, recording, start, length):
                yield {**leg, "recorded": leg["recorded"] and chance >= self._gaps}, visible_at
            if rng.random() < _UNRECORDED or chance > 1 - self._gaps:
                other_length = draw_duration(rng) // 1000
                other = self._make_unrecorded(rng, start - int(rng.random() * 10_800), other_length)
                if chance > 1 - self._gaps:
                    other |= {"result": "Answered", "recorded": True}
                ended = (_read_start(other) / 1000) + other_length
                yield other, ended + rng.uniform(*_LAG_SECONDS)

    def _make_legs(self, rng: Random, recording: Fields, start: int, length: int) -> Iterator[Fields]:
        """Make the legs of a recorded call."""
        extensions = [int(number) for number in recording.get("extensions") or [] if str(number).isdecimal()]
        own = extensions[0] if extensions else 1001
        direction = recording.get("call_direction")
        base = {"id": recording["call_id"], "from": recording.get("caller_id"), "to": recording.get("dnis")}
        base = {name: None if value is None else str(value) for name, value in base.items()}
        if direction == "INTRA_PBX":  # a leg for each side
            other = int(base["to"]) if str(base["to"]).isdecimal() else 1002
            for side, recorded in (("Outbound", True), ("Inbound", False)):
                yield self._make_leg(base, side, start, length, own, other, recorded=recorded)
        elif direction == "OUTBOUND":
            yield self._make_leg(base, "Outbound", start, length, own, None, recorded=True)
        else:
            rings = rng.random() < _RINGING
            if rings:  # at the same second as the leg that was answered, or right before it
                missed = own + 1 if own < 1024 else 1001
                yield self._make_leg(base, "Inbound", start, 0, None, missed, result="Missed")
            if rng.random() < _TRANSFERRED and length > 20:
                first = length // 3
                yield self._make_leg(base, "Inbound", start, first, None, own, recorded=True)
                yield self._make_leg(
                    base, "Inbound", start + first, length - first, None, own + 30, recorded=True
                )
            else:
                yield self._make_leg(base, "Inbound", start, length, None, own, recorded=True)

    def _make_unrecorded(self, rng: Random, start: int, length: int) -> Fields:
        """Make a call that is not recorded: missed, gone to voicemail, or answered."""
        chance, extension = rng.random(), 1001 + int(rng.random() * 24)
        base = {"id": draw_call_id(rng), "from": str(draw_number(rng)), "to": str(extension)}
        if chance < 0.35:
            return self._make_leg(base, "Inbound", start, 0, None, extension, result="Missed")
        if chance < 0.5:
            seconds = min(length, 120)
            return self._make_leg(base, "Inbound", start, seconds, None, extension, result="Voicemail")
        if chance < 0.6:  # internal
            return self._make_leg(base, "Outbound", start, length, extension, 1001 + int(rng.random() * 24))
        if chance < 0.8:
            return self._make_leg(base, "Outbound", start, length, extension, None)
        return self._make_leg(base, "Inbound", start, length, None, extension)

    def _make_leg(
        self,
        base: Fields,
        direction: str,
        start: int,
        length: int,
        source: int | None,
        destination: int | None,
        *,
        result: str = "Answered",
        recorded: bool = False,
    ) -> Fields:
        outside = source is None or destination is None
        return {
            "id": base["id"],
            "in_network": not outside,
            "international": False,
            "from": base["from"],
            "to": base["to"],
            "direction": direction,
            "length": length,
            "start": format_report_time(start),
            "end": format_report_time(start + length),
            "charge": round(length / 60 * 0.02, 4) if direction == "Outbound" and outside else 0,
            "rate": 0.02 if direction == "Outbound" and outside else 0,
            **self._parties.describe("destination", destination),
            **self._parties.describe("source", source),
            "custom_tag": "Sales" if destination and destination % 5 == 0 else None,
            "result": result,
            "recorded": recorded,
        }

    def _store(self, fields: Fields, visible_at: float) -> StoredRecording:
        legs = self._legs.setdefault(str(fields["id"]), [])
        # counted on from the last leg that there is: by their number, two could get one key after a deletion
        key = f"{fields['id']}/{int(legs[-1].rsplit('/', 1)[1]) + 1 if legs else 1}"
        legs.append(key)
        return StoredRecording(key, _read_start(fields), visible_at, _encode(fields).encode(), 0)

    def _place(self, row: StoredRecording) -> None:
        """Insert a row, or hide it until its time comes."""
        if row.visible_at <= self._environment.clock():
            self._insert(row)
        else:
            self._hidden[row.key] = row
            heapq.heappush(self._queue, (row.visible_at, row.key))

    def _insert(self, row: StoredRecording) -> None:
        index = bisect_right(self._starts, row.start)
        self._rows.insert(index, row)
        self._starts.insert(index, row.start)

    def _remove(self, key: str) -> StoredRecording:
        if key in self._hidden:
            return self._hidden.pop(key)
        index = next(index for index, row in enumerate(self._rows) if row.key == key)
        del self._starts[index]
        return self._rows.pop(index)


def _read_start(fields: Fields) -> int:
    return parse_timestamp(fields.get("start")) or 0


def _index_users(users: Iterable[Fields]) -> dict[int, Fields]:
    """Index users by the numbers of their extensions."""
    return {
        int(extension["extension_number"]): user
        for user in users
        for extension in user.get("extensions") or []
        if str(extension.get("extension_number")).isdecimal()
    }
