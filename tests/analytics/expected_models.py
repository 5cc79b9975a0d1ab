"""Expected rows of the models, computed in plain Python from the rows of the source's tables."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime, timedelta, timezone
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

from raw_tables import invent

Row = dict[str, Any]
Tables = dict[str, list[Row]]
BUCKETS = (0, 10, 30, 60, 120, 300, 600, 1800, 3600)
MODELS = {
    "recordings": "recording_key, account_id, recording_type, recording_id, user_id, call_id, "
    "direction, caller_number, caller_name, dialed_number, started_at, ended_at, "
    "duration_seconds, size_bytes, archived, first_loaded_at",
    "recording_extensions": "recording_key, extension",
    "extensions": "account_id, extension, user_id, user_name",
    "daily_directions": "day, account_id, recording_type, direction, "
    "recordings, total_seconds, median_seconds, p90_seconds",
    "daily_extensions": "day, account_id, extension, recordings, total_seconds, median_seconds",
    "duration_buckets": "bucket_order, recordings, total_seconds",
    "weekly_hours": "weekday, hour, recordings, total_seconds",
    "coverage": "day, account_id, recording_type, recordings, archived, proven_at",
}


def expect_models(tables: Tables, zone: str, lookback_hours: float = 48) -> dict[str, list[tuple[Any, ...]]]:
    """Return the expected rows of each model, with its columns in the order above."""
    expected = _ExpectedModels(tables, ZoneInfo(zone), timedelta(hours=lookback_hours))
    models = {name: [tuple(row) for row in getattr(expected, name)()] for name in MODELS}
    return {name: sorted(rows, key=repr) for name, rows in models.items()}


@cache
def expect_invented(seed: int, zone: str) -> dict[str, list[tuple[Any, ...]]]:
    """Return the expected models of invented tables, computed once; not to be changed."""
    return expect_models(invent(seed), zone)


class _ExpectedModels:
    def __init__(self, tables: Tables, zone: ZoneInfo, lookback: timedelta) -> None:
        self._tables = defaultdict(list, tables)
        self._zone, self._lookback = zone, lookback
        self._windows = [*self._read_windows()]
        self._proofs = [window for window in self._windows if window["filters"] is None]
        self._rows = [*self._read("company"), *self._read("user")]
        self._by_key = {row["key"]: row for row in self._rows}
        pairs = {
            (self._key(kind, item, item["recording_id"]), (item["extension"] or "").strip())
            for kind in ("company", "user")
            for item in self._tables[f"{kind}_recordings__extensions"]
        }
        self._pairs = {(key, number) for key, number in pairs if number and key in self._by_key}

    def recordings(self) -> Iterable[Sequence[Any]]:
        for row in self._rows:
            yield (
                *(row["key"], row["account_id"], row["kind"], row["id"], row.get("user_id"), row["call_id"]),
                *(row["direction"], row["caller_id"], row["cnam"], row["dnis"], row["start"], row["end"]),
                *(row["seconds"], row["file_size_in_bytes"], row["archived"], self._first_loaded(row)),
            )

    def recording_extensions(self) -> Iterable[Sequence[Any]]:
        return self._pairs

    def extensions(self) -> Iterable[Sequence[Any]]:
        numbers = {(item["account_id"], item["extension"]) for item in self._tables["extensions"]}
        numbers |= {(item["account_id"], item["extension"]) for item in self._tables["users__extensions"]}
        numbers |= {(self._by_key[key]["account_id"], number) for key, number in self._pairs}
        for account, number in numbers:
            yield account, number, *self._find_person(account, number)

    def daily_directions(self) -> Iterable[Sequence[Any]]:
        groups = self._group(self._rows, lambda row: (row["account_id"], row["kind"], row["direction"]))
        for key, rows in groups.items():
            yield *key, len(rows), _total(rows), _percentile(rows, 50), _percentile(rows, 90)

    def daily_extensions(self) -> Iterable[Sequence[Any]]:
        rows = [{**self._by_key[key], "extension": number} for key, number in self._pairs]
        for key, group in self._group(rows, lambda row: (row["account_id"], row["extension"])).items():
            yield *key, len(group), _total(group), _percentile(group, 50)

    def duration_buckets(self) -> Iterable[Sequence[Any]]:
        groups: dict[int, list[Row]] = {order: [] for order in range(1, len(BUCKETS) + 2)}
        for row in self._rows:
            known = row["seconds"] is not None
            groups[sum(row["seconds"] >= low for low in BUCKETS) if known else len(BUCKETS) + 1].append(row)
        for order, rows in groups.items():
            yield order, len(rows), _total(rows)

    def weekly_hours(self) -> Iterable[Sequence[Any]]:
        groups: dict[tuple[int, int], list[Row]] = {
            (day, hour): [] for day in range(1, 8) for hour in range(24)
        }
        for row in self._rows:
            if row["start"]:
                local = row["start"].astimezone(self._zone)
                groups[local.isoweekday(), local.hour].append(row)
        for (weekday, hour), rows in groups.items():
            yield weekday, hour, len(rows), _total(rows)

    def coverage(self) -> Iterable[Sequence[Any]]:
        counted = self._group(self._rows, lambda row: (row["account_id"], row["kind"]))
        spans: dict[tuple[str, str], set[date]] = defaultdict(set)
        for window in self._proofs:
            first, last = self._day(window["window_start"]), self._day(window["window_end"])
            spans[window["account_id"], window["kind"]] |= {first, last}
        days = set(counted)
        for (account, kind), touched in spans.items():
            length = (max(touched) - min(touched)).days + 1
            days |= {(min(touched) + timedelta(n), account, kind) for n in range(length)}
        for day, account, kind in days:
            rows = counted.get((day, account, kind), [])
            archived = sum(row["archived"] for row in rows)
            within = spans.get((account, kind), set())
            known = within and min(within) <= day <= max(within)
            yield day, account, kind, len(rows), archived, self._proven(account, kind, day) if known else None

    def _read(self, kind: str) -> Iterable[Row]:
        stones = {
            (item["account_id"], item["recording_type"], item["user_id"] or "", item["recording_id"])
            for item in self._tables["recording_tombstones"]
            if item.get("returned_at") is None
        }
        stored = {
            (item["account_id"], item["recording_type"], item["user_id"] or "", item["recording_id"])
            for item in self._tables["recording_audio"]
            if item["status"] == "stored"
        }
        for row in self._tables[f"{kind}_recordings"]:
            key = (row["account_id"], kind, row.get("user_id") or "", row["id"])
            if key not in stones:
                yield {
                    **row,
                    "key": self._key(kind, row, row["id"]),
                    "kind": kind,
                    "direction": (row["call_direction"] or "").strip().upper() or "UNKNOWN",
                    "seconds": _seconds(row),
                    "archived": key in stored,
                }

    def _key(self, kind: str, row: Row, id_: int) -> str:
        whose = f"{kind}/{row['user_id']}" if kind == "user" else kind
        return f"{row['account_id']}/{whose}/{id_}"

    def _day(self, moment: datetime) -> date:
        return moment.astimezone(self._zone).date()

    def _group(self, rows: Iterable[Row], key: Callable[[Row], Any]) -> dict[Any, list[Row]]:
        groups: dict[Any, list[Row]] = defaultdict(list)
        for row in rows:
            if row["start"]:
                groups[(self._day(row["start"]), *key(row))].append(row)
        return groups

    def _read_windows(self) -> Iterable[Row]:
        complete = {load["load_id"] for load in self._tables["_dlt_loads"] if load["status"] == 0}
        for window in self._tables["scan_windows"]:
            kind = {"company_recordings": "company", "user_recordings": "user"}.get(window["resource"])
            if kind and window["_dlt_load_id"] in complete and self._has_rows(window):
                end = window["window_end"] + timedelta(seconds=1)  # the last second is inside
                settled = min(end, (window["scanned_at"] - self._lookback).replace(microsecond=0))
                known = {"kind": kind, "user_id": window["user_id"] or "", "end": end, "settled": settled}
                yield {**window, **known}

    def _has_rows(self, window: Row) -> bool:
        """Whether a window adds up, and the rows that it names are in the table."""
        starts = [
            row["start"]
            for row in self._tables.get(window["resource"], [])
            if row["start"]
            and row["account_id"] == window["account_id"]
            and (row.get("user_id") or "") == (window["user_id"] or "")
        ]
        there = sum(window["window_start"] <= start < window["window_end"] for start in starts)
        return window.get("is_proven") is not False and there >= (window.get("rows_loaded") or 0)

    def _first_loaded(self, row: Row) -> datetime | None:
        if row["start"] is None:
            return None
        scans = [
            window["scanned_at"]
            for window in self._windows
            if (window["account_id"], window["kind"]) == (row["account_id"], row["kind"])
            and window["user_id"] == (row.get("user_id") or "")
            and window["window_start"] <= row["start"] < window["end"]
        ]
        behind = [scanned for scanned in scans if scanned >= (row["end"] or row["start"])]
        return min(behind or scans, default=None)

    def _find_person(self, account: str, number: str) -> tuple[str | None, str | None]:
        users = {user["id"]: user for user in self._tables["users"] if user["account_id"] == account}

        def name(id_: str) -> str | None:
            user = users.get(id_, {})
            return _name(user.get("first_name"), user.get("last_name")) or user.get("login_name")

        found = []
        for item in self._tables["extensions"]:
            if (item["account_id"], item["extension"]) == (account, number) and item["user_id"]:
                full_name = _name(item["user_first_name"], item["user_last_name"]) or name(item["user_id"])
                found.append((item["gone_at"], 1, item["user_id"], full_name))
        for item in self._tables["users__extensions"]:
            if (item["account_id"], item["extension"]) == (account, number):
                gone = users.get(item["user_id"], {}).get("gone_at")
                found.append((gone, 2, item["user_id"], name(item["user_id"])))
        found.sort(
            key=lambda item: (item[0] is not None, -(item[0].timestamp() if item[0] else 0), item[1], item[2])
        )
        return (found[0][2], found[0][3]) if found else (None, None)

    def _day_bounds(self, day: date) -> tuple[datetime, datetime]:
        """Return start and end of a day, found by looking at every quarter of an hour around it."""
        noon = datetime(day.year, day.month, day.day, 12, tzinfo=timezone.utc)
        quarters = [noon + timedelta(minutes=15 * n) for n in range(-144, 144)]
        inside = [quarter for quarter in quarters if self._day(quarter) == day]
        return inside[0], inside[-1] + timedelta(minutes=15)

    def _proven(self, account: str, kind: str, day: date) -> datetime | None:
        users = {""}
        start, end = self._day_bounds(day)
        if kind == "user":
            gone = {
                user["id"]: user["gone_at"] for user in self._tables["users"] if user["account_id"] == account
            }
            listed = {window["user_id"] for window in self._proofs if self._of(window, account, kind)}
            users = {user for user in listed | set(gone) if gone.get(user) is None or gone[user] > start}
        proofs = [self._prove(account, kind, user, start, end) for user in users]
        known = [proof for proof in proofs if proof is not None]
        return min(known, default=None) if len(known) == len(proofs) else None

    def _of(self, window: Row, account: str, kind: str) -> bool:
        return (window["account_id"], window["kind"]) == (account, kind)

    def _prove(self, account: str, kind: str, user: str, start: datetime, end: datetime) -> datetime | None:
        """Return the latest `scanned_at` since which every moment of a day was read and settled."""
        windows = [
            window
            for window in self._proofs
            if self._of(window, account, kind)
            and window["user_id"] == user
            and window["window_start"] < end
            and window["settled"] > start
        ]
        for since in sorted({window["scanned_at"] for window in windows}, reverse=True):
            reached = start
            for window in sorted(windows, key=lambda window: window["window_start"]):
                if window["scanned_at"] >= since and window["window_start"] <= reached:
                    reached = max(reached, window["settled"])
            if reached >= end:
                return since
        return None


def _seconds(row: Row) -> float | None:
    milliseconds = row["duration"]
    text = row.get("duration__v_text") or ""
    if milliseconds is None and re.fullmatch(r"\d+(\.\d+)?", text):
        milliseconds = int(Decimal(text).quantize(Decimal(1), ROUND_HALF_UP))
    return None if milliseconds is None or milliseconds < 0 else milliseconds / 1000


def _total(rows: Iterable[Row]) -> float:
    return (
        sum(
            int(Fraction(row["seconds"]) * 1000 + Fraction(1, 2))
            for row in rows
            if row["seconds"] is not None
        )
        / 1000
    )


def _percentile(rows: Iterable[Row], percent: int) -> float | None:
    values = sorted(Fraction(str(row["seconds"])) for row in rows if row["seconds"] is not None)
    if not values:
        return None
    place = Fraction(percent, 100) * (len(values) - 1)
    low, share = int(place), place - int(place)
    high = values[min(low + 1, len(values) - 1)]
    return float(round(values[low] + share * (high - values[low]), 4))


def _name(first: str | None, last: str | None) -> str | None:
    return " ".join(word for word in ((first or "").strip(), (last or "").strip()) if word) or None


def differences(found: Iterable[tuple[Any, ...]], expected: Iterable[tuple[Any, ...]]) -> tuple[Any, Any]:
    """Return the surplus rows and the missing ones; a row that is there twice too often counts."""
    actual, required = Counter(found), Counter(expected)
    return sorted((actual - required).elements(), key=repr), sorted((required - actual).elements(), key=repr)
