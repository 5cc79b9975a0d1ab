"""Expected rows of the models, computed in plain Python from the rows of the source's tables."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime, timedelta, timezone
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from functools import cache
from itertools import pairwise
from math import floor
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
    "recording_extensions": "recording_key, extension, account_id, recording_type, direction, started_at, "
    "duration_seconds, archived, extension_key, user_id, user_name",
    "extensions": "account_id, extension, user_id, user_name, extension_key, is_current",
    "daily_directions": "day, account_id, recording_type, direction, "
    "recordings, total_seconds, median_seconds, p90_seconds",
    "daily_hours": "day, hour, account_id, recording_type, direction, recordings, archived, total_seconds",
    "daily_extensions": "day, account_id, extension, recordings, total_seconds, median_seconds, "
    "extension_key, user_id, user_name",
    "duration_buckets": "bucket_order, recordings, total_seconds",
    "weekly_hours": "weekday, hour, recordings, total_seconds",
    "coverage": "day, account_id, recording_type, recordings, archived, proven_at",
    "users": "user_key, account_id, user_id, user_name, gone_at, extensions, recordings, last_recorded_at",
    "daily_users": "day, account_id, recording_type, user_key, user_id, user_name, "
    "recordings, shared_recordings, shared_seconds",
    "quiet_extensions": "extension_key, account_id, extension, user_id, user_name, recordings, "
    "last_recorded_at, quiet_days, as_of",
    "calls": "call_key, account_id, call_id, direction, caller_number, caller_name, dialed_number, "
    "started_at, ended_at, recordings, user_recordings, archived, extensions, "
    "total_seconds, longest_seconds",
    "callers": "account_id, caller_number, caller_name, calls, repeated_calls, "
    "first_called_at, last_called_at",
    "daily_rules": "day, account_id, recording_type, rule_id, recordings, total_seconds, silent_days",
    "storage": "month, account_id, is_forecast, recordings, size_bytes, archived_bytes, total_bytes",
    "retention_calendar": "expires_on, account_id, recording_type, expires_by, within_days, recordings, "
    "size_bytes, held, unarchived, at_risk, as_of",
}
PERIODS = {"vbc": 60, "policy": 100}  # days of the retention calendar, where a test sets them


def expect_models(
    tables: Tables, zone: str, lookback_hours: float = 48, periods: dict[str, int] | None = None
) -> dict[str, list[tuple[Any, ...]]]:
    """Return the expected rows of each model, with its columns in the order above."""
    expected = _ExpectedModels(tables, ZoneInfo(zone), timedelta(hours=lookback_hours), periods or {})
    models = {name: [tuple(row) for row in getattr(expected, name)()] for name in MODELS}
    return {name: sorted(rows, key=repr) for name, rows in models.items()}


@cache
def expect_invented(seed: int, zone: str) -> dict[str, list[tuple[Any, ...]]]:
    """Return the expected models of invented tables, computed once; not to be changed."""
    return expect_models(invent(seed), zone)


@cache
def _day_bounds(day: date, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Return start and end of a day, found by looking at every quarter of an hour around it."""
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=timezone.utc)
    quarters = [noon + timedelta(minutes=15 * n) for n in range(-144, 144)]
    inside = [quarter for quarter in quarters if quarter.astimezone(zone).date() == day]
    return inside[0], inside[-1] + timedelta(minutes=15)


class _ExpectedModels:
    def __init__(self, tables: Tables, zone: ZoneInfo, lookback: timedelta, periods: dict[str, int]) -> None:
        self._tables, self._periods = defaultdict(list, tables), periods
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
        self._numbers: dict[str, list[str]] = defaultdict(list)
        for key, number in sorted(self._pairs):
            self._numbers[key].append(number)
        self._people = {
            (account, number): self._find_person(account, number) for account, number in self._find_numbers()
        }
        loads = {load["load_id"] for load in self._tables["_dlt_loads"] if load["status"] == 0}
        read = [w["scanned_at"] for w in self._tables["scan_windows"] if w["_dlt_load_id"] in loads]
        starts = [row["start"] for row in self._rows if row["start"]]
        self._as_of: datetime | None = max(read or starts, default=None)
        self._today = self._day(self._as_of) if self._as_of else date.min

    def recordings(self) -> Iterable[Sequence[Any]]:
        for row in self._rows:
            yield (
                *(row["key"], row["account_id"], row["kind"], row["id"], row.get("user_id"), row["call_id"]),
                *(row["direction"], row["caller_id"], row["cnam"], row["dnis"], row["start"], row["end"]),
                *(row["seconds"], row["file_size_in_bytes"], row["archived"], self._first_loaded(row)),
            )

    def recording_extensions(self) -> Iterable[Sequence[Any]]:
        for key, number in self._pairs:
            row = self._by_key[key]
            account, person = row["account_id"], self._people[row["account_id"], number]
            yield (
                *(key, number, account, row["kind"], row["direction"], row["start"], row["seconds"]),
                *(row["archived"], f"{account}/{number}", *person),
            )

    def extensions(self) -> Iterable[Sequence[Any]]:
        for (account, number), person in self._people.items():
            yield account, number, *person, f"{account}/{number}", self._is_current(account, number)

    def daily_directions(self) -> Iterable[Sequence[Any]]:
        groups = self._group(self._rows, lambda row: (row["account_id"], row["kind"], row["direction"]))
        for key, rows in groups.items():
            yield *key, len(rows), _total(rows), _percentile(rows, 50), _percentile(rows, 90)

    def daily_hours(self) -> Iterable[Sequence[Any]]:
        def split(row: Row) -> tuple[Any, ...]:
            hour = row["start"].astimezone(self._zone).hour
            return hour, row["account_id"], row["kind"], row["direction"]

        for key, rows in self._group(self._rows, split).items():
            yield *key, len(rows), sum(row["archived"] for row in rows), _total(rows)

    def daily_extensions(self) -> Iterable[Sequence[Any]]:
        rows = [{**self._by_key[key], "extension": number} for key, number in self._pairs]
        for key, group in self._group(rows, lambda row: (row["account_id"], row["extension"])).items():
            _, account, number = key
            person = (f"{account}/{number}", *self._people[account, number])
            yield *key, len(group), _total(group), _percentile(group, 50), *person

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

    def users(self) -> Iterable[Sequence[Any]]:
        taking_part = defaultdict(list)
        for row in self._rows:
            for user in {user for user in self._share(row) if user}:
                taking_part[row["account_id"], user].append(row)
        listed = {(user["account_id"], user["id"]): user for user in self._tables["users"]}
        owners = defaultdict(list)
        for item in self._tables["extensions"]:
            owners[item["account_id"], item["user_id"]].append(item)
        owned = Counter((account, person[0]) for (account, _), person in self._people.items())
        recording = {(row["account_id"], row["user_id"]) for row in self._rows if row.get("user_id")}
        for account, user in {*listed, *owners, *owned, *recording}:
            if user is None:
                continue
            known, items = listed.get((account, user)), owners[account, user]
            names = [_name(item["user_first_name"], item["user_last_name"]) or "" for item in items]
            name = known and (_name(known["first_name"], known["last_name"]) or known["login_name"])
            gone = [item["gone_at"] for item in items]
            left = known["gone_at"] if known else None if None in gone else max(gone, default=None)
            rows = taking_part[account, user]
            last = max((row["start"] for row in rows if row["start"]), default=None)
            person = (f"{account}/{user}", account, user, name or max(names, default=None) or None, left)
            yield *person, owned[account, user], len(rows), last

    def daily_users(self) -> Iterable[Sequence[Any]]:
        names = {row[0]: row[3] for row in self.users()}
        shares: dict[Any, list[tuple[str, int, int]]] = defaultdict(list)
        for row in self._rows:
            users, length = self._share(row), round((row["seconds"] or 0) * 1000)
            for user, part, time in zip(
                users, _divide(10**6, len(users)), _divide(length, len(users)), strict=True
            ):
                if row["start"]:
                    day = self._day(row["start"])
                    shares[day, row["account_id"], row["kind"], user].append((row["key"], part, time))
        for (day, account, kind, user), parts in shares.items():
            key = f"{account}/{user}" if user else None
            counts = (len({part[0] for part in parts}), sum(part[1] for part in parts) / 10**6)
            yield (
                day,
                account,
                kind,
                key,
                user,
                names.get(key),
                *counts,
                sum(part[2] for part in parts) / 1000,
            )

    def quiet_extensions(self) -> Iterable[Sequence[Any]]:
        for (account, number), person in self._people.items():
            keys = [key for key, used in self._pairs if used == number]
            rows = [self._by_key[key] for key in keys if self._by_key[key]["account_id"] == account]
            last = max((row["start"] for row in rows if row["start"]), default=None)
            days = (self._today - self._day(last)).days if last else None
            if self._is_current(account, number) and (days is None or days >= 7):
                yield f"{account}/{number}", account, number, *person, len(rows), last, days, self._as_of

    def calls(self) -> Iterable[Sequence[Any]]:
        calls = defaultdict(list)
        for row in self._rows:
            call = (row["call_id"] or "").strip()
            calls[f"{row['account_id']}/call/{call}" if call else row["key"]].append(row)
        for key, rows in calls.items():
            rows.sort(key=lambda row: (row["start"] is None, row["start"] or 0, row["kind"], row["key"]))
            first, starts = rows[0], [row["start"] for row in rows if row["start"]]
            lengths = [row["seconds"] for row in rows if row["seconds"] is not None]
            yield (
                *(key, first["account_id"], (first["call_id"] or "").strip() or None, first["direction"]),
                *(first["caller_id"], first["cnam"], first["dnis"], min(starts, default=None)),
                *(max((row["end"] for row in rows if row["end"]), default=None), len(rows)),
                *(sum(row["kind"] == "user" for row in rows), sum(row["archived"] for row in rows)),
                len({number for row in rows for number in self._numbers[row["key"]]}),
                *(_total(rows), max(lengths, default=None)),
            )

    def callers(self) -> Iterable[Sequence[Any]]:
        contacts = defaultdict(list)
        for key, account, _, direction, number, name, _, start, *_ in self.calls():
            if direction == "INBOUND" and start and re.search("[0-9]", number or ""):
                contacts[account, number.strip()].append((start, key, name))
        for (account, number), calls in contacts.items():
            calls.sort()
            starts = [call[0] for call in calls]
            repeated = sum(b - a <= timedelta(days=7) for a, b in pairwise(starts))
            name = next((call[2] for call in reversed(calls) if call[2] is not None), None)
            yield account, number, name, len(calls), repeated, starts[0], starts[-1]

    def daily_rules(self) -> Iterable[Sequence[Any]]:
        carried = defaultdict(set)
        for kind in ("company", "user"):
            for item in self._tables[f"{kind}_recordings__rule_ids"]:
                if item["rule_id"] is not None:
                    carried[self._key(kind, item, item["recording_id"])].add(item["rule_id"])
        days: dict[Any, dict[date, list[Row]]] = defaultdict(lambda: defaultdict(list))
        for row in self._rows:
            for rule in carried[row["key"]] or {None} if row["start"] else ():
                days[row["account_id"], row["kind"], rule][self._day(row["start"])].append(row)
        for key, by_day in days.items():
            day, last, known = min(by_day), min(by_day), max(self._today, *by_day)
            while day <= known:
                last = day if day in by_day else last
                if day <= self._today or day in by_day:
                    rows = by_day.get(day, [])
                    yield day, *key, len(rows), _total(rows), (day - last).days
                day += timedelta(days=1)

    def storage(self) -> Iterable[Sequence[Any]]:
        def month(day: date) -> int:
            return day.year * 12 + day.month - 1

        now = month(self._today)
        months: dict[str, dict[int, list[Row]]] = defaultdict(lambda: defaultdict(list))
        for row in self._rows:
            if row["start"] and month(self._day(row["start"])) <= now:
                months[row["account_id"]][month(self._day(row["start"]))].append(row)
        for account, by_month in months.items():
            first, total = min(by_month), 0
            sizes = {
                n: sum(row["file_size_in_bytes"] or 0 for row in by_month.get(n, []))
                for n in range(first, now + 1)
            }
            points = [(n - first, sizes[n]) for n in range(max(first, now - 12), now)]
            for n in range(first, now + 13):
                if n <= now:
                    rows = by_month.get(n, [])
                    stored = sum(row["file_size_in_bytes"] or 0 for row in rows if row["archived"])
                    count, size, archived = len(rows), sizes[n], stored
                elif len(points) > 1:
                    count, size, archived = None, _extrapolate(points, n - first), None
                else:
                    break
                total += size
                yield date(n // 12, n % 12 + 1, 1), account, n > now, count, size, archived, total

    def retention_calendar(self) -> Iterable[Sequence[Any]]:
        ids = {hold["recording_id"] for hold in self._tables["holds"] if hold["recording_id"]}
        calls = {hold["call_id"] for hold in self._tables["holds"] if hold["call_id"]}
        for name, days in self._periods.items():
            groups = self._group(self._rows, lambda row: (row["account_id"], row["kind"]))
            for (day, account, kind), rows in groups.items():
                left = (day + timedelta(days) - self._today).days
                held = sum(
                    row["id"] in ids
                    or row["call_id"] in calls
                    or (row["call_id"] is None and bool(ids | calls))
                    for row in rows
                )
                lost = sum(not row["archived"] for row in rows)
                if left <= 90:
                    within = 0 if left <= 0 else -(-left // 30) * 30
                    size = sum(row["file_size_in_bytes"] or 0 for row in rows)
                    counts = (len(rows), size, held, lost, lost if name == "vbc" else 0)
                    yield day + timedelta(days), account, kind, name, within, *counts, self._today

    def _share(self, row: Row) -> list[str | None]:
        """Return the user of each share of a recording."""
        numbers = self._numbers[row["key"]]
        return [self._people[row["account_id"], number][0] for number in numbers] or [row.get("user_id")]

    def _find_numbers(self) -> set[tuple[str, str]]:
        numbers = {(item["account_id"], item["extension"]) for item in self._tables["extensions"]}
        numbers |= {(item["account_id"], item["extension"]) for item in self._tables["users__extensions"]}
        return numbers | {(self._by_key[key]["account_id"], number) for key, number in self._pairs}

    def _is_current(self, account: str, number: str) -> bool:
        gone = {
            user["id"]: user["gone_at"] for user in self._tables["users"] if user["account_id"] == account
        }
        listed = [
            (item["extension"], item["gone_at"])
            for item in self._tables["extensions"]
            if item["account_id"] == account
        ] + [
            (item["extension"], gone.get(item["user_id"]))
            for item in self._tables["users__extensions"]
            if item["account_id"] == account
        ]
        return not listed or (number, None) in listed

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
            is_over = window["scanned_at"] <= datetime.now(timezone.utc)  # else a clock was ahead
            if kind and is_over and window["_dlt_load_id"] in complete and self._has_rows(window):
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

    def _proven(self, account: str, kind: str, day: date) -> datetime | None:
        users = {""}
        start, end = _day_bounds(day, self._zone)
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


def _divide(whole: int, parts: int) -> list[int]:
    return [whole // parts + (place < whole % parts) for place in range(parts)]


def _extrapolate(points: list[tuple[int, int]], x: int) -> int:
    """Return the value of the least squares line at x, not below 0."""
    n, sum_x, sum_y = len(points), sum(x for x, _ in points), sum(y for _, y in points)
    squares, products = sum(x * x for x, _ in points), sum(x * y for x, y in points)
    slope = float(n * products - sum_x * sum_y) / float(n * squares - sum_x * sum_x)
    return floor(max(sum_y / n + slope * (x - sum_x / n), 0) + 0.5)


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
