"""Makes and applies plans for a test archive."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from archiving import ERASE_SHORT, Site, key_of

from vbc_source.retention.apply import ApplyResult, apply_retention
from vbc_source.retention.plan import RetentionPlan, plan_retention

PLAN = Path("plan.json")
DELETE = f"""{ERASE_SHORT}
[[rules]]
name = "old"
older_than_days = 30
actions = ["delete_at_vbc"]
"""
ERASE = """
[[rules]]
name = "all"
older_than_days = 1
actions = ["delete_at_vbc", "delete_archive"]
"""
ARCHIVE = """
[[rules]]
name = "all"
actions = ["archive"]
"""


def lose_file(pipeline: Any, version: int) -> None:
    """Note that VBC lost a version of recording 1000, as `vbc verify --repair` does."""
    with pipeline.sql_client() as client:
        client.execute_sql(
            "INSERT INTO recording_audio (account_id, recording_type, user_id, recording_id, status, "
            "attempts, fetched_at, version) VALUES ('549825', 'company', '', 1000, 'missing', 1, now(), %s)",
            version,
        )


def make_plan(site: Site, policy: str, hold: str = "", **options: Any) -> RetentionPlan:
    """Plan a policy, with a hold list if one is given."""
    if hold:
        (site.folder / "hold.txt").write_text(hold)
        policy = f'hold = "hold.txt"\n{policy}'
    (site.folder / "retention.toml").write_text(policy)
    return plan_retention(out=PLAN, **{"bucket_url": site.bucket, **options})


def apply_plan(site: Site, **options: Any) -> ApplyResult:
    return apply_retention(plan=PLAN, **{"bucket_url": site.bucket, **options})


def list_keys(site: Site) -> list[str]:
    """Return the keys of all files in the order of their recordings."""
    return [key_of(row) for row in sorted(site.gateway.company.all(), key=lambda row: row["id"])]
