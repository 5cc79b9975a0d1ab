"""A plan says what a policy does and why; applying does exactly that, or nothing where it no longer fits."""

from __future__ import annotations

import hashlib
import json
import stat
from datetime import datetime, timedelta, timezone
from pathlib import Path

import duckdb
import pytest
from archiving import FolderBucket, Prepare, S3Bucket, make_gateway
from in_process import run_in_process
from loading import query
from plans import ARCHIVE, DELETE, ERASE, PLAN, apply_plan, list_keys, lose_file, make_plan

from vbc_source.api.clock import WrongClock
from vbc_source.audio.sidecars.manifest import manifest_key
from vbc_source.audio.sidecars.sidecar import sidecar_key
from vbc_source.emulator import Gateway
from vbc_source.load.destinations import Target
from vbc_source.retention.facts import read_facts
from vbc_source.retention.plan import open_tables, read_policy_files
from vbc_source.retention.plan_file import PlanRefused

AUDIO = "SELECT recording_id, status FROM recording_audio ORDER BY recording_id"
HOLDS = "SELECT recording_id, place, released_at IS NOT NULL FROM recording_holds ORDER BY recording_id"
CONDITIONS = {
    "age": "older_than_days = 600",
    "direction": 'directions = ["inbound"]',
    "extension": 'extensions = ["101", "0102"]',
    "user": 'users = ["user-7"]',
    "rule-id": "rule_ids = [77]",
    "short": "shorter_than_seconds = 10",
    "long": "longer_than_seconds = 100",
    "account": 'accounts = ["1"]',
    "two": 'directions = ["outbound"]\nshorter_than_seconds = 61',
}


def deletions(gateway: Gateway) -> list[str]:
    return [request.path for request in gateway.requests if request.method == "DELETE"]


def left(gateway: Gateway) -> list[int]:
    return sorted(recording["id"] for recording in gateway.company.all())


def test_the_first_rule_that_matches_a_recording_decides(prepare: Prepare) -> None:
    """One recording for each condition; only one condition has an effect on it."""
    now = datetime(2026, 1, 1, tzinfo=timezone.utc)
    site = prepare(make_gateway(10))
    site.load()
    with duckdb.connect("vbc.duckdb") as sql:
        sql.execute("USE vbc_data")
        sql.execute("UPDATE company_recordings SET start = '2024-01-01 00:00:00+00' WHERE id = 1000")
        sql.execute("UPDATE company_recordings SET start = NULL WHERE id = 1009")  # of unknown age
        sql.execute("UPDATE company_recordings SET call_direction = 'INBOUND' WHERE id = 1001")
        sql.execute("UPDATE company_recordings SET call_direction = 'OUTBOUND' WHERE id = 1008")
        sql.execute("UPDATE company_recordings SET duration = 9999 WHERE id = 1005")
        sql.execute("UPDATE company_recordings SET duration = 100001 WHERE id = 1006")
        sql.execute("UPDATE company_recordings SET account_id = '1' WHERE id = 1007")
        for extension, account, number in (
            ("99", "549825", 1002),
            ("0102", "549825", 1002),
            ("101", "1", 1003),
        ):
            sql.execute(
                "INSERT INTO company_recordings__extensions (account_id, recording_id, position, extension) "
                f"VALUES ('{account}', {number}, 0, '{extension}')"
            )
        sql.execute(
            "INSERT INTO company_recordings__rule_ids (account_id, recording_id, position, rule_id) "
            "VALUES ('549825', 1004, 0, 77)"
        )
    rules = "".join(
        f'[[rules]]\nname = "{name}"\nactions = ["keep"]\n{text}\n' for name, text in CONDITIONS.items()
    )
    Path("retention.toml").write_text(rules)
    policy = read_policy_files(Path("retention.toml")).policy
    found = {
        facts.candidate.recording_id: policy.rules[facts.rule - 1].name if facts.rule else None
        for facts in read_facts(open_tables(Target()), policy.rules, now)
    }
    names = ("age", "direction", "extension", None, "rule-id", "short", "long", "account", "two", None)
    assert found == {1000 + number: name for number, name in enumerate(names)}


def test_a_plan_is_applied_exactly_and_only_once(prepare: Prepare) -> None:
    gateway = make_gateway(6)
    for number in (1000, 1001):
        gateway.company.change(number, duration=5_000)
    site = prepare(gateway)
    pipeline = site.load()
    site.archive(limit=5)
    sidecar = Path(site.bucket, list_keys(site)[0]).with_suffix(".json")
    sidecar.write_text("{}")
    sidecar.with_name("1000.mp3.damaged-0123").write_bytes(b"x")

    plan = make_plan(site, DELETE, hold="1001\ncall-1003\n9\n")
    assert plan.rules == {
        "short": {"delete_at_vbc": 1, "delete_archive": 1, "keep": 1},
        "old": {"delete_at_vbc": 2, "keep": 2},
    }
    assert (plan.recordings, plan.held, plan.blocked, plan.unmatched, plan.ok) == (
        6,
        2,
        1,
        ("line 3",),
        False,
    )
    assert [*plan.reasons] == ["it is not archived: run vbc audio"]
    assert (
        plan.steps[0]
        == "company recording 1000 of 2025-03-01: delete_at_vbc and delete_archive, by rule short"
    )
    assert stat.S_IMODE(PLAN.stat().st_mode) == 0o600
    lines = [json.loads(line) for line in PLAN.read_text().splitlines()]
    held = {"recording_id": 1003, "rule": "old", "held": "line 2"}
    assert lines[4] == {"account_id": "549825", "recording_type": "company", **held}
    assert lines[6]["blocked"] == "it is not archived: run vbc audio"
    content = PLAN.read_bytes().splitlines(keepends=True)
    assert lines[-1]["sha256"] == hashlib.sha256(b"".join(content[:-1])).hexdigest()
    assert plan.plan_id == lines[-1]["sha256"][:16]
    assert query(pipeline, HOLDS) == [(1001, "line 1", False), (1003, "line 2", False)]
    assert deletions(gateway) == []

    done = apply_plan(site)
    assert done.rules == {"short": {"deleted": 1, "erased": 1}, "old": {"deleted": 2}}
    assert (done.applied, done.ok) == (plan.plan_id, True)
    assert left(gateway) == [1001, 1003, 1005]
    states = [(1000, "erased"), *((number, "stored") for number in (1001, 1002, 1003, 1004))]
    assert query(pipeline, AUDIO) == states
    assert len(site.files()) == 4
    why = query(pipeline, "SELECT error FROM recording_audio WHERE status = 'erased'")
    assert why == [(f"deleted by the retention rule short, plan {plan.plan_id}",)]

    again = apply_plan(site)  # as after a kill at the very end
    assert (again.done, again.deleted, again.erased, again.ok) == (4, 0, 0, True)
    assert len(deletions(gateway)) == 3


@pytest.mark.slow
def test_what_was_erased_is_not_fetched_again_and_holds_are_released(prepare: Prepare) -> None:
    site = prepare(make_gateway(3))
    pipeline = site.load()
    site.archive(limit=2)
    make_plan(site, ERASE, hold="1001\n")
    add_back = site.gateway.company.all()
    assert apply_plan(site).erased == 1
    for row in add_back:
        if row["id"] == 1000:  # as if VBC had kept it after all
            site.gateway.company.add(**row)
    before = len(site.fetches())
    assert site.archive().stored == 1
    assert site.fetches()[before:] == ["1002"]
    assert query(pipeline, HOLDS) == [(1001, "line 1", False)]
    assert make_plan(site, ERASE, hold="1002\n").rules["all"] == {
        "keep": 2,
        "delete_at_vbc": 1,
        "delete_archive": 1,
    }
    assert query(pipeline, HOLDS) == [(1001, "line 1", True), (1002, "line 1", False)]


def test_a_plan_that_does_not_fit_is_refused_and_nothing_is_done(prepare: Prepare) -> None:
    site = prepare(make_gateway(3))
    site.load()
    site.archive()
    make_plan(site, DELETE, hold="call-1002\n")
    whole = PLAN.read_text()

    def refused(reason: str, **options: object) -> None:
        with pytest.raises(PlanRefused, match=f"^plan refused, nothing is done: .*{reason}") as caught:
            apply_plan(site, **options)
        assert "\n" not in str(caught.value)

    for edited in (
        whole.replace("1001", "1002"),
        whole.replace('"held":"line 1"', '"actions":["delete_at_vbc"]'),
        whole.rpartition("{")[0],
        "\n".join(whole.splitlines()[:2]),
        whole[:-9],
        whole + "{}\n",
        "",
        "\0",
        "{" * 99_999,
    ):
        PLAN.write_text(edited)
        refused("make a new")
    PLAN.unlink()
    refused("the file cannot be read: No such file")
    PLAN.write_text(whole)
    today = datetime.now(timezone.utc)
    refused("it is 8 days old, and valid for 7", now=lambda: today + timedelta(days=8))
    refused("made in the future", now=lambda: today - timedelta(hours=1))
    refused("it is for the bucket", bucket_url=str(site.folder / "other"))
    for file, text in (("hold.txt", "call-1001\n"), ("retention.toml", ARCHIVE)):
        before = Path(file).read_text()
        Path(file).write_text(text)
        refused("has changed since")
        Path(file).unlink()
        refused("cannot be read: No such file")
        Path(file).write_text(before)
    with duckdb.connect("vbc.duckdb") as sql:
        sql.execute("UPDATE vbc_data.company_recordings SET call_id = 'x'")
    refused("2 of .*: company recording 1000, company recording 1001; make")
    assert deletions(site.gateway) == []


@pytest.mark.slow
def test_a_plan_whose_facts_changed_is_refused(prepare: Prepare) -> None:
    site = prepare(make_gateway(3))
    pipeline = site.load()
    site.archive()
    make_plan(site, DELETE, hold="call-1002\n")
    one, two = "company recording 1000", "company recording 1001"
    recordings, audio = "UPDATE company_recordings SET", "UPDATE recording_audio SET"
    changes = {
        f"{recordings} file_size_in_bytes = 9 WHERE id = 1000": f"1 of .*: {one};",
        f"{recordings} duration = 5000 WHERE id = 1001": f"1 of .*: {two};",
        f"{audio} sha256 = 'x' WHERE recording_id = 1000": f"1 of .*: {one};",
        f"{audio} attempts = 0 WHERE recording_id = 1000": f"1 of .*: {one};",
        "DELETE FROM company_recordings WHERE id = 1001": f"1 of .*: {two};",
    }
    with duckdb.connect("vbc.duckdb") as sql:
        sql.execute("USE vbc_data")
        for name in ("company_recordings", "recording_audio"):
            sql.execute(f"CREATE TABLE before_{name} AS FROM {name}")
        for change, named in changes.items():
            sql.execute(change)
            with pytest.raises(PlanRefused, match=named):
                apply_plan(site)
            for name in ("company_recordings", "recording_audio"):
                sql.execute(f"DELETE FROM {name}; INSERT INTO {name} FROM before_{name}")
    assert deletions(site.gateway) == []
    assert apply_plan(site).deleted == 2
    assert len(query(pipeline, "SELECT 1 FROM recording_deletions")) == 4


@pytest.mark.slow
def test_a_plan_of_another_dataset_is_refused(prepare: Prepare) -> None:
    site = prepare(make_gateway(1))
    site.load()
    site.archive()
    make_plan(site, DELETE)
    with pytest.raises(PlanRefused, match="another destination, dataset or pipeline"):
        apply_plan(site, target=Target(dataset="other_data"))
    with pytest.raises(PlanRefused, match="another destination, dataset or pipeline"):
        apply_plan(site, target=Target(pipeline="other"))


@pytest.mark.slow
@pytest.mark.parametrize("days", [366, -366])
def test_a_wrong_clock_deletes_nothing(prepare: Prepare, days: int) -> None:
    """Neither at VBC nor in the archive."""
    site = prepare(make_gateway(2))
    pipeline = site.load()
    site.archive()
    now = datetime.now(timezone.utc) + timedelta(days=days)
    make_plan(site, ERASE, now=lambda: now)
    with pytest.raises(WrongClock, match="set the clock"):
        apply_plan(site, now=lambda: now)
    assert deletions(site.gateway) == []
    assert query(pipeline, AUDIO) == [(1000, "stored"), (1001, "stored")]


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["no-resource*always", "not-found*always"])
def test_a_gateway_that_answers_404_to_everything_erases_nothing(prepare: Prepare, fault: str) -> None:
    site = prepare(make_gateway(2), SOURCES__VBC__RETRY_SECONDS="0")
    pipeline = site.load()
    site.archive()
    make_plan(site, ERASE)
    site.gateway.fault(fault)
    done = apply_plan(site)
    assert (done.gone, done.failed, done.erased, done.ok) == (0, 2, 0, False)
    assert query(pipeline, AUDIO) == [(1000, "stored"), (1001, "stored")]
    assert len(site.files()) == 2


@pytest.mark.slow
def test_what_changed_at_vbc_or_in_the_bucket_stays_everywhere(prepare: Prepare) -> None:
    site = prepare(make_gateway(4))
    pipeline = site.load()
    site.archive()
    keys = list_keys(site)
    site.gateway.company.change(1000, call_id="another")
    site.gateway.company.delete(1001)
    make_plan(site, ERASE)
    Path(site.bucket, keys[2]).write_bytes(b"cut")
    done = apply_plan(site)
    assert (done.failed, done.gone, done.unproven, done.deleted, done.erased) == (1, 1, 1, 1, 2)
    assert not done.ok
    assert left(site.gateway) == [1000, 1002]
    assert [status for _, status in query(pipeline, AUDIO)] == ["stored", "erased", "stored", "erased"]


@pytest.mark.slow
def test_a_plan_archives_what_it_names_and_nothing_else(prepare: Prepare) -> None:
    site = prepare(make_gateway(4), SOURCES__VBC__RETRY_SECONDS="0")
    pipeline = site.load()
    plan = make_plan(site, ARCHIVE.replace("actions", "shorter_than_seconds = 60\nactions"))
    assert plan.actions == {"keep": 4}  # all take a minute
    site.gateway.company.change(1003, duration=90_000)
    site.load()
    plan = make_plan(site, ARCHIVE.replace("actions", "shorter_than_seconds = 61\nactions"))
    assert plan.rules["all"] == {"archive": 3}
    site.gateway.company.delete(1001)
    site.gateway.fault("html*1@/audio/recording/1002")
    done = apply_plan(site)
    assert (done.archived, done.missing, done.failed, done.ok) == (1, 1, 1, False)
    again = apply_plan(site)
    assert (again.done, again.archived, again.ok) == (2, 1, True)
    assert query(pipeline, AUDIO) == [(1000, "stored"), (1001, "missing"), (1002, "stored")]


@pytest.mark.slow
def test_all_versions_of_a_recording_are_erased(prepare: Prepare) -> None:
    site = prepare(make_gateway(2))
    pipeline = site.load()
    site.archive()
    site.gateway.company.change(1000, file_size_in_bytes=3000)
    site.load()
    site.archive()
    assert len(site.files()) == 3
    blocked = make_plan(site, ERASE)
    assert (blocked.blocked, blocked.rules["all"]) == (
        1,
        {"delete_at_vbc": 1, "delete_archive": 1, "keep": 1},
    )
    assert run_in_process("recordings", "delete", "1000", "--yes").exit_code == 0
    lose_file(pipeline, version=3)
    make_plan(site, ERASE)
    done = apply_plan(site)
    assert (done.deleted, done.erased, done.ok) == (1, 2, True)
    assert site.files() == {}
    assert query(
        pipeline, "SELECT version FROM recording_audio WHERE status = 'erased' AND recording_id = 1000"
    ) == [
        (1,),
        (2,),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["plain", "versioned", "locked"])
def test_objects_in_s3_are_erased_with_their_versions_unless_they_are_locked(
    prepare: Prepare, s3: S3Bucket, kind: str
) -> None:
    locked = kind == "locked"
    if locked:
        s3.name = f"{s3.name}-locked"
        s3.url = f"s3://{s3.name}/recordings"
        s3.client.create_bucket(Bucket=s3.name, ObjectLockEnabledForBucket=True)
    elif kind == "versioned":
        versioning = {"Status": "Enabled"}
        s3.client.put_bucket_versioning(Bucket=s3.name, VersioningConfiguration=versioning)
    site = prepare(make_gateway(3), bucket=s3.url)
    pipeline = site.load()
    site.archive()
    keys = [f"recordings/{key}" for key in list_keys(site)]
    s3.write(keys[0], s3.read(keys[0]))  # another version, with the same bytes
    if locked:
        until = datetime.now(timezone.utc) + timedelta(days=365)
        retention = {"Mode": "COMPLIANCE", "RetainUntilDate": until}
        s3.client.put_object_retention(Bucket=s3.name, Key=keys[1], Retention=retention)
        s3.client.put_object_legal_hold(Bucket=s3.name, Key=keys[2], LegalHold={"Status": "ON"})
    make_plan(site, ERASE)
    done = apply_plan(site)
    blocked = 2 if locked else 0
    assert (done.deleted, done.erased, done.blocked, done.ok) == (3, 3 - blocked, blocked, not locked)
    page = s3.client.list_object_versions(Bucket=s3.name)
    left = {version["Key"] for version in page["Versions"] if "/custody/" not in version["Key"]}
    kept = keys[1:] * locked
    days = {manifest_key(key.rpartition("/")[0]) for key in kept}
    assert left == {*kept, *map(sidecar_key, kept), *days}
    assert "DeleteMarkers" not in page
    states = ["erased", "stored", "stored"] if locked else ["erased"] * 3
    assert [status for _, status in query(pipeline, AUDIO)] == states


@pytest.mark.slow
def test_commands_plan_and_apply(prepare: Prepare, own_folder: Path) -> None:
    site = prepare(make_gateway(2), SOURCES__VBC__AUDIO__BUCKET_URL=str(own_folder / "files"))
    site.load()
    site.archive()

    def run(*arguments: str) -> tuple[int, dict[str, object], str, str]:
        done = run_in_process("retention", *arguments, "--json")
        lines = done.stdout.splitlines()
        return done.exit_code, json.loads(lines[-1]) if lines else {}, done.stdout, done.stderr

    code, _, _, errors = run("plan")
    assert (code, errors.count("\n")) == (2, 1)
    assert "retention.toml cannot be read: No such file" in errors
    Path("retention.toml").write_text(ERASE)
    code, planned, shown, _ = run("plan", "--out", "plan.json")
    assert (code, planned["ok"], planned["actions"]) == (0, True, {"delete_at_vbc": 2, "delete_archive": 2})
    assert "company recording 1001 of 2025-03-02: delete_at_vbc and delete_archive, by rule all" in shown
    code, applied, _, _ = run("apply", "--plan", "plan.json")
    assert (code, applied["ok"], applied["applied"]) == (0, True, planned["plan_id"])
    assert (applied["deleted"], applied["erased"]) == (2, 2)
    code, _, _, errors = run("apply", "--plan", "none.json")
    assert (code, errors.count("\n")) == (2, 1)
    assert errors.startswith("vbc retention apply: plan refused, nothing is done: ")
    assert run("--older-than", "3", "plan")[0] == 2
    assert run()[0] == 2
    code, _, _, errors = run("--older-than", "1")
    assert (code, errors) == (0, "")


def test_a_folder_bucket_erases_what_is_there(own_folder: Path) -> None:
    from vbc_source.audio.bucket import Bucket

    folder = FolderBucket(own_folder)
    bucket = Bucket(folder.url)
    Path(folder.url, "a").mkdir(parents=True)
    bucket.erase("a/b.mp3")  # nothing there
    folder.write("recordings/a/b.mp3", b"x")
    assert not bucket.is_erased("a/b.mp3")
    bucket.erase("a/b.mp3")
    assert bucket.is_erased("a/b.mp3")
    assert folder.sizes() == {}
