"""Plants gaps between calls and recordings, and says from the emulator's own data what is to be found."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from loading import instant

from vbc_source.emulator import Gateway

Found = dict[str, set[str]]


def plant_gaps(gateway: Gateway, each: int, oldest: str, newest: str) -> Found:
    """Plant so many gaps of each class among the company's recorded calls of a span; return the calls."""
    logs, company = gateway.call_logs, gateway.company
    legs = len(logs)  # generated before anything is changed
    rows = [row for row in company.all() if oldest < row["start"] < newest and row["duration"] > 60_000]
    step = len(rows) // (5 * each)
    assert step > 0
    assert legs > len(rows)
    chosen = iter(rows[::step])
    planted: Found = defaultdict(set)
    for _ in range(each):
        row = next(chosen)
        company.delete(row["id"])
        planted["missing"].add(row["call_id"])
        row = next(chosen)
        company.delete(row["id"])
        logs.change(row["call_id"], recorded=False)
        planted["not_flagged"].add(row["call_id"])
        row = next(chosen)
        logs.change(row["call_id"], recorded=False)
        planted["unexpected"].add(row["call_id"])
        row = next(chosen)
        company.change(row["id"], duration=row["duration"] // 2)
        planted["length_differs"].add(row["call_id"])
        row = next(chosen)
        logs.delete(row["call_id"])
        planted["without_call"].add(row["call_id"])
    return planted


def expect_classes(gateway: Gateway, until: str) -> dict[str, set[str]]:
    """Return the calls of each class that started before an instant, by the plain rule."""
    legs: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in gateway.call_logs.all():
        legs[row["id"]].append(row)
    recordings: dict[str, list[dict[str, Any]]] = defaultdict(list)
    users = gateway.users
    for store in (gateway.company, *(users.recordings(user) for user in users.ids())):
        for row in store.all():
            recordings[row["call_id"]].append(row)
    classes: dict[str, set[str]] = defaultdict(set)
    for call in legs.keys() | recordings.keys():
        started = min(
            [instant(row["start"].replace(" ", "T")[:19] + "Z") for row in (*legs[call], *recordings[call])]
        )
        if started < instant(until):
            classes[_classify(legs[call], recordings[call])].add(call)
    return classes


def _classify(legs: list[dict[str, Any]], recordings: list[dict[str, Any]]) -> str:
    flagged = any(leg["recorded"] for leg in legs)
    if not legs:
        return "without_call"
    if not recordings:
        answered = any(leg["result"] == "Answered" for leg in legs)
        return "missing" if flagged else "not_flagged" if answered else "not_answered"
    talked = sum(leg["length"] for leg in legs if leg["recorded"])
    recorded = sum(row["duration"] for row in recordings) / 1000
    if flagged and max(leg["length"] for leg in legs) - 10 <= recorded <= talked + 10:
        return "recorded"
    return "length_differs" if flagged else "unexpected"
