"""A plan says what a policy does and why; applying does exactly that, or nothing where it no longer fits."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import dlt
import pytest
from archiving import FolderBucket, Prepare, Site, key_of, make_gateway
from loading import query

from vbc_source import apply_retention, plan_retention
from vbc_source.retention.apply import ApplyResult
from vbc_source.retention.plan import RetentionPlan

POLICY = """
hold = "hold.txt"

[[rules]]
name = "short"
shorter_than_seconds = 10
older_than_days = 1
actions = ["delete_at_vbc", "delete_archive"]

[[rules]]
name = "old"
older_than_days = 30
actions = ["delete_at_vbc"]

[[rules]]
name = "rest"
actions = ["archive"]
"""
LEDGER = "SELECT recording_id, status FROM recording_audio ORDER BY recording_id"


def make_plan(site: Site, policy: str = POLICY, hold: str = "", **options: Any) -> RetentionPlan:
    (site.folder / "retention.toml").write_text(policy)
    if "hold =" in policy:
        (site.folder / "hold.txt").write_text(hold)
    return plan_retention(out=Path("plan.json"), bucket_url=site.bucket, **options)


def apply_plan(site: Site, **options: Any) -> ApplyResult:
    return apply_retention(plan=Path("plan.json"), bucket_url=site.bucket, **options)


def test_x(prepare: Prepare) -> None:
    gateway = make_gateway(6)
    gateway.company.change(1000, duration=5_000)
    gateway.company.change(1001, duration=5_000)
    site = prepare(gateway)
    pipeline = site.load()
    site.archive(limit=5)
    plan = make_plan(site, hold="1001\ncall-1003\n9\n")
    print(list(plan.summary()))
    print(Path("plan.json").read_text())
    print(query(pipeline, "select * from recording_holds"))
    done = apply_plan(site)
    print(list(done.summary()))
    print(apply_plan(site))
    print(query(pipeline, LEDGER))
    print(query(pipeline, "select error from recording_audio"))
    print(list(make_plan(site, hold="1001\n").summary()))
    print(query(pipeline, "select * from recording_holds"))
    assert 0
