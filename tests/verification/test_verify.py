"""Comparing what VBC has with what is loaded: counts, ids, repairs and tombstones."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from click.testing import CliRunner
from loading import TOKEN_REJECTED, environment, expected_recordings, run_vbc, still_gateway
from verification_cases import NOW, RECENT, SHARED, Prepare, Stand, ago, oldest, script, settled

from vbc_source import VbcError, backfill
from vbc_source.cli import main
from vbc_source.config import VbcConfig
from vbc_source.emulator import Gateway
from vbc_source.errors import SettingsError, Unavailable
from vbc_source.verification.verify import is_read_again, make_plan
from vbc_source.warehouse.completeness import Gap, RecordingList
from vbc_source.windows import parse_instant

CAPABILITIES = [
    ("page-base-0", "empty-404"),
    ("cap-7", "ignore-order"),
    ("cap-quiet-7",),
    ("refuse-page-size", "random-order"),
    ("ids-as-text", "odd-times", "new-field", "no-embedded", "no-total-pages"),
]


def add_and_delete(stand: Stand) -> tuple[set[int], set[int]]:
    """Add three late recordings, and delete two others."""
    gone = {oldest(stand.gateway, 10), oldest(stand.gateway, 200)}
    for id_ in gone:
        stand.gateway.company.delete(id_)
    late = {1, 2, 3}
    for id_ in late:
        stand.add_late(id_, 60 * id_, extensions=[700 + id_])
    return late, gone


@pytest.mark.slow
def test_equal_sides_take_about_one_request_a_list(prepare: Prepare) -> None:
    stand = prepare()
    outcome = stand.verify()
    assert (outcome.ok, outcome.spans, outcome.gaps, outcome.left_out) == (True, (), (), ())
    assert outcome.lateness is None  # a history that is read for the first time shows no arrivals
    assert outcome.without_audio is None  # nothing is archived
    assert outcome.requests == len(stand.gateway.requests)
    assert stand.requests() <= 1 + 1 + 1 + 3 * 2  # company, its recent span, users, each user
    assert {(total.recording_type, total.agrees) for total in outcome.totals} == {
        ("company", True),
        ("user", True),
    }
    assert len(outcome.totals) == 4


@pytest.mark.slow
def test_recordings_without_a_start_are_backfilled_and_not_missing(prepare: Prepare) -> None:
    gateway = Gateway(clock=lambda: NOW, recordings=60, days=60)
    gateway.fault("lost-starts")
    stand = prepare(gateway, "company_recordings")
    for deep in (False, True):
        outcome = stand.verify(deep=deep)
        assert (outcome.ok, outcome.missing, outcome.spans) == (True, 0, ())
    stand.query("DELETE FROM company_recordings")
    span = parse_instant(ago(70)), parse_instant(ago(0))
    result = backfill(stand.target, *span, 90, resources=["company_recordings"])
    [(rows, lost)] = stand.query('SELECT count(*), count(*) - count("start") FROM company_recordings')
    assert (rows, result.rows["company_recordings"]) == (60, 60 - lost)
    assert 0 < lost < 30


def test_late_and_deleted_recordings_are_found_and_repaired(prepare: Prepare) -> None:
    stand = prepare(None, "company_recordings")
    late, gone = add_and_delete(stand)
    found = stand.verify()
    assert (found.ok, found.missing, found.gone, found.loaded, found.tombstoned) == (False, 3, 2, 0, 0)
    assert stand.tombstones() == []
    assert not late & {row[0] for row in stand.query("SELECT id FROM company_recordings")}

    done = stand.verify(repair=True)
    assert (done.ok, done.missing, done.gone, done.loaded, done.tombstoned) == (True, 3, 2, 3, 2)
    assert all(span.repaired for span in done.spans)
    assert stand.tombstones() == sorted(("company", "", id_) for id_ in gone)
    held = {row[1] for row in expected_recordings(stand.gateway)}
    assert stand.current() == held
    raw = stand.query("SELECT id FROM company_recordings")
    assert {row[0] for row in raw} == held | gone  # what is gone stays in the raw tables
    assert len(raw) == len(held | gone)
    extensions = "SELECT extension FROM company_recordings__extensions WHERE recording_id IN (1, 2, 3)"
    assert sorted(stand.query(extensions)) == [("701",), ("702",), ("703",)]
    stand.gateway.clear()
    after = stand.verify(deep=True)
    assert (after.ok, after.spans) == (True, ())
    (evidence,) = stand.query(f"SELECT evidence FROM recording_tombstones WHERE recording_id = {min(gone)}")
    path = f"/accounts/549825/company_call_recordings/{min(gone)} answered HTTP 404"
    assert path in evidence[0]


@pytest.mark.slow
@pytest.mark.parametrize("faults", CAPABILITIES, ids="+".join)
def test_differences_are_repaired_whatever_the_gateway_supports(
    prepare: Prepare, faults: tuple[str, ...]
) -> None:
    stand = prepare(still_gateway(recordings=300, faults=faults))
    _, gone = add_and_delete(stand)
    done = stand.verify(repair=True)
    assert (done.ok, done.loaded, done.tombstoned) == (True, 3, 2)
    assert stand.tombstones() == sorted(("company", "", id_) for id_ in gone)
    assert stand.verify().ok


def test_differences_that_cancel_out_are_found_with_deep_alone(prepare: Prepare) -> None:
    stand = prepare(None, "company_recordings")
    gone = oldest(stand.gateway, 50)
    stand.gateway.company.delete(gone)
    stand.add_late(1)
    assert stand.verify().ok
    deep = stand.verify(deep=True)
    assert (deep.ok, deep.missing, deep.gone) == (False, 1, 1)


@pytest.mark.slow
def test_deep_repairs_differences_that_cancel_out(prepare: Prepare) -> None:
    stand = prepare(None, "company_recordings")
    gone = oldest(stand.gateway, 50)
    stand.gateway.company.delete(gone)
    stand.add_late(1)
    done = stand.verify(deep=True, repair=True)
    assert (done.ok, done.loaded, done.tombstoned) == (True, 1, 1)
    assert stand.tombstones() == [("company", "", gone)]


@pytest.mark.slow
def test_a_recording_that_returns_loses_its_tombstone_and_may_get_another(prepare: Prepare) -> None:
    stand = prepare(None, "company_recordings")
    recording = next(row for row in stand.gateway.company.all() if row["id"] == oldest(stand.gateway, 50))
    id_ = recording["id"]
    stand.gateway.company.delete(id_)
    assert stand.verify(repair=True).tombstoned == 1
    assert id_ not in stand.current()
    stand.gateway.company.add(**recording)
    found = stand.verify()
    assert (found.ok, found.returned) == (False, 1)
    back = stand.verify(repair=True)
    assert (back.ok, back.returned, back.loaded) == (True, 1, 0)
    assert stand.tombstones() == []
    assert id_ in stand.current()
    history = "SELECT returned_at IS NULL, evidence LIKE '%, back at 2%' FROM recording_tombstones"
    assert stand.query(history) == [(False, False)]
    stand.gateway.company.delete(id_)
    assert stand.verify(repair=True).tombstoned == 1
    assert stand.query(history) == [(True, True)]
    assert id_ not in stand.current()


def test_recent_recordings_wait_for_the_next_sync_but_recent_deletions_count(prepare: Prepare) -> None:
    stand = prepare(None, "company_recordings")
    gateway = stand.gateway
    gateway.company.add(id=4, start=ago(0.5), duration=60_000)
    waiting = stand.verify(repair=True)
    assert (waiting.ok, waiting.waiting, waiting.missing, waiting.loaded) == (True, 1, 0, 0)
    gateway.company.delete(RECENT[1])
    gateway.company.delete(RECENT[2])
    found = stand.verify()
    assert (found.ok, found.gone, found.missing) == (False, 2, 0)


@pytest.mark.slow
def test_a_recent_deletion_is_marked_and_waiting_recordings_are_loaded_with_it(prepare: Prepare) -> None:
    stand = prepare(None, "company_recordings")
    stand.gateway.company.add(id=4, start=ago(0.5), duration=60_000)
    stand.gateway.company.delete(RECENT[1])
    stand.gateway.company.delete(RECENT[2])
    done = stand.verify(repair=True)
    assert (done.ok, done.tombstoned, done.loaded) == (True, 2, 1)
    assert stand.current() >= {RECENT[0], 4}


@pytest.mark.slow
def test_each_users_list_is_compared_and_two_users_may_share_ids(prepare: Prepare) -> None:
    stand = prepare()
    names = [str(user["id"]) for user in stand.gateway.users.all()]
    one, two = (stand.gateway.users.recordings(name) for name in names[:2])
    before = [len(one), len(two)]
    one.delete(SHARED[0])
    two.add(id=900, start=ago(90), duration=60_000)
    done = stand.verify(repair=True)
    assert {(span.user_id, span.missing, span.gone) for span in done.spans} == {
        (names[0], 0, 1),
        (names[1], 1, 0),
    }
    assert (done.ok, done.loaded, done.tombstoned) == (True, 1, 1)
    assert stand.tombstones() == [("user", names[0], SHARED[0])]
    current = dict(stand.query("SELECT user_id, count(*) FROM current_recordings GROUP BY 1"))
    assert [current[name] for name in names[:2]] == [before[0] - 1, before[1] + 1]


def test_company_recordings_alone_are_enough(prepare: Prepare) -> None:
    stand = prepare(None, "company_recordings")
    outcome = stand.verify()
    assert (outcome.ok, outcome.left_out) == (True, ("user_recordings",))
    assert not [request for request in stand.gateway.requests if "/users" in request.path]
    assert len(stand.current()) == len(stand.gateway.company)
    with pytest.raises(VbcError, match="no table user_recordings"):
        stand.verify(types=["user"])


def test_without_loaded_tables_an_error_names_the_command(prepare: Prepare) -> None:
    stand = prepare(still_gateway(), load=False)
    with pytest.raises(VbcError, match="run vbc sync first"):
        stand.verify()


@pytest.mark.slow
def test_a_user_who_left_is_reported_without_failure_and_keeps_the_recordings(prepare: Prepare) -> None:
    stand = prepare()
    leaver = str(stand.gateway.users.all()[-1]["id"])
    stand.gateway.users.remove(leaver)
    outcome = stand.verify(repair=True)
    (left,) = [total for total in outcome.totals if total.unread]
    assert (outcome.ok, left.user_id, left.unread, left.api) == (True, leaver, "HTTP 404", None)
    assert stand.tombstones() == []


@pytest.mark.slow
def test_a_forbidden_list_is_a_failure_or_is_left_out_by_on_forbidden(
    prepare: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand = prepare()
    gateway = stand.gateway
    user = str(gateway.users.all()[-1]["id"])
    gateway.users.forbid(user)
    outcome = stand.verify(repair=True)
    assert (outcome.ok, outcome.tombstoned) == (False, 0)
    monkeypatch.setenv("SOURCES__VBC__ON_FORBIDDEN", "skip")
    assert stand.verify(repair=True).ok
    gateway.fault("no-rights*always@/company_call_recordings")
    monkeypatch.setenv("SOURCES__VBC__ON_FORBIDDEN", "raise")
    outcome = stand.verify(repair=True)
    assert (outcome.ok, outcome.tombstoned) == (False, 0)
    unread = {(total.recording_type, total.user_id) for total in outcome.totals if total.unread}
    assert unread == {("company", ""), ("user", user)}


@pytest.mark.parametrize(
    ("path", "kind"), [("/company_call_recordings", "company"), ("/provisioning/", "user")]
)
@pytest.mark.parametrize("fault", ["suspended", TOKEN_REJECTED])
def test_a_list_that_is_broken_for_good_leaves_the_others_compared(
    prepare: Prepare, fault: str, path: str, kind: str
) -> None:
    stand = prepare(SOURCES__VBC__ACCOUNT_ID="549825", SOURCES__VBC__RETRY_SECONDS="0")
    stand.gateway.fault(f"{fault}*always@{path}")
    outcome = stand.verify()
    (unread,) = [total for total in outcome.totals if total.unread]
    assert (outcome.ok, unread.recording_type, unread.user_id) == (False, kind, "")
    compared = [(total.recording_type, total.user_id) for total in outcome.totals if total.agrees]
    users = [("user", str(user["id"])) for user in stand.gateway.users.all()]
    assert sorted(compared) == sorted(users if kind == "company" else [("company", ""), *users])


def test_a_gateway_that_answers_no_list_ends_the_comparison(prepare: Prepare) -> None:
    stand = prepare(SOURCES__VBC__ACCOUNT_ID="549825", SOURCES__VBC__RETRY_SECONDS="0")
    stand.gateway.fault("suspended*always@/t/")
    with pytest.raises(Unavailable, match="company recordings of account 549825"):
        stand.verify()


@pytest.mark.slow
def test_several_accounts_are_compared_each_by_itself(prepare: Prepare) -> None:
    gateway = still_gateway(recordings=40)
    other = gateway.add_account("600001", recordings=40)
    stand = prepare(gateway, SOURCES__VBC__ACCOUNT_ID='["self", "600001"]')
    gone = int(other.company.all()[-5]["id"])
    other.company.delete(gone)
    done = stand.verify(repair=True)
    assert (done.ok, done.tombstoned) == (True, 1)
    assert [(total.account_id, total.api) for total in done.totals if total.recording_type == "company"] == [
        ("549825", settled(gateway.company)),
        ("600001", settled(other.company)),
    ]
    assert stand.query("SELECT account_id, recording_id FROM recording_tombstones") == [("600001", gone)]


@pytest.mark.slow
def test_only_filtered_recordings_are_compared_and_numbers_are_hashed(prepare: Prepare) -> None:
    gateway = still_gateway(recordings=200)
    number = str(gateway.company.all()[-10]["caller_id"])
    filters = {"call_direction": "INBOUND", "duration:gte": 1000}
    stand = prepare(
        gateway,
        SOURCES__VBC__FILTERS=json.dumps(filters),
        SOURCES__VBC__PII="hash",
        SOURCES__VBC__PII_KEY="a long text of the tests",
    )
    assert stand.verify(deep=True).ok
    stand.add_late(1, call_direction="OUTBOUND")
    assert stand.verify().ok
    stand.add_late(2, call_direction="INBOUND", caller_id=number)
    done = stand.verify(repair=True)
    assert (done.ok, done.missing, done.loaded) == (True, 1, 1)
    hashes = "SELECT DISTINCT length(caller_id) FROM company_recordings WHERE id = 2"
    assert stand.query(hashes) == [(64,)]


@pytest.mark.slow
def test_filters_on_hashed_child_or_dropped_columns(
    prepare: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = still_gateway(recordings=100)
    oldest_first = reversed(gateway.company.all())
    row = next(row for row in oldest_first if row["extensions"] and row["caller_id"])
    filters = {"caller_id": str(row["caller_id"]), "extension": str(row["extensions"][0])}
    stand = prepare(gateway, SOURCES__VBC__PII="hash", SOURCES__VBC__PII_KEY="a long text of the tests")
    monkeypatch.setenv("SOURCES__VBC__FILTERS", json.dumps(filters))
    outcome = stand.verify(deep=True)
    assert outcome.ok
    assert outcome.compared >= 1
    monkeypatch.setenv("SOURCES__VBC__PII", "drop")
    with pytest.raises(SettingsError, match="caller_id was dropped"):
        stand.verify()


@pytest.mark.slow
def test_gaps_between_proven_windows_are_reported(prepare: Prepare) -> None:
    stand = prepare(
        still_gateway(recordings=300), "company_recordings", SOURCES__VBC__START_DATE="2025-01-01"
    )
    assert stand.verify().gaps == ()
    with stand.pipeline.sql_client() as client:
        ((load,),) = client.execute_sql("SELECT DISTINCT _dlt_load_id FROM scan_windows") or []
        client.execute_sql(
            "UPDATE scan_windows SET window_start = TIMESTAMPTZ '2025-03-01 00:00:00+00' "
            "WHERE window_start = TIMESTAMPTZ '2025-01-01 00:00:00+00'"
        )
        client.execute_sql(
            "INSERT INTO scan_windows "
            "(account_id, resource, window_start, window_end, scanned_at, _dlt_load_id) VALUES "
            f"('549825', 'company_recordings', '2025-01-01', '2025-01-31 23:59:59+00', now(), '{load}'), "
            f"('549825', 'company_recordings', '2025-02-01', '2025-02-10', now(), '{load}')"
        )
    outcome = stand.verify()
    reported = [(gap.start.day, gap.start.month, gap.end.day, gap.end.month) for gap in outcome.gaps]
    assert (outcome.ok, reported) == (True, [(10, 2, 1, 3)])


@pytest.mark.slow
def test_lists_that_begin_two_years_before_their_first_reading_have_no_gap_there(prepare: Prepare) -> None:
    stand = prepare(still_gateway(recordings=20, users=3), "company_recordings")
    # the users' lists are first read two seconds later, or years later, by another run
    for shift in ("2 seconds", "300 days"):
        with stand.pipeline.sql_client() as client:
            client.execute_sql(f"UPDATE scan_windows SET window_start = window_start - INTERVAL '{shift}'")
        stand.sync("user_recordings")
        assert stand.verify().gaps == ()


@pytest.mark.slow
def test_a_span_that_was_never_loaded_is_found_and_filled(
    prepare: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = still_gateway(recordings=600)
    stand = prepare(gateway, "company_recordings", SOURCES__VBC__START_DATE=ago(100)[:10])
    monkeypatch.delenv("SOURCES__VBC__START_DATE")
    assert stand.verify().ok  # without a date it starts where the loaded history does
    monkeypatch.setenv("SOURCES__VBC__START_DATE", ago(700)[:10])
    held = len(stand.gateway.company)
    found = stand.verify()
    assert not found.ok
    assert found.missing == held - stand.query("SELECT count(*) FROM company_recordings")[0][0]
    assert found.gaps
    done = stand.verify(repair=True)
    assert (done.ok, done.loaded) == (True, found.missing)
    assert stand.query("SELECT count(*), count(DISTINCT id) FROM company_recordings") == [(held, held)]
    assert stand.verify().gaps == ()


@pytest.mark.slow
def test_since_and_until_bound_what_is_compared(prepare: Prepare) -> None:
    stand = prepare()
    stand.add_late(1, 100)
    now = datetime.now(timezone.utc)
    assert stand.verify(since=now - timedelta(days=90)).ok
    assert stand.verify(until=now - timedelta(days=110)).ok
    assert stand.verify(since=now - timedelta(days=110), until=now - timedelta(days=90)).missing == 1
    with pytest.raises(VbcError, match="nothing to compare"):
        stand.verify(since=now + timedelta(days=1))


@pytest.mark.slow
def test_a_wrong_path_marks_nothing(prepare: Prepare, monkeypatch: pytest.MonkeyPatch) -> None:
    stand = prepare()
    monkeypatch.setenv("SOURCES__VBC__RECORDING_API", "/t/vbc.prod/elsewhere/api")
    with pytest.raises(SettingsError, match=r"HTTP 404.*check account_id and recording_api"):
        stand.verify(repair=True)
    assert stand.tombstones() == []


def make_config() -> VbcConfig:
    return VbcConfig.from_values(
        recording_api="/api", start_date="2025-01-01", filters={"start:gte": "2025-02-01"}
    )


def test_a_gap_in_the_lookback_of_the_newest_window_is_read_again() -> None:
    end = datetime(2025, 6, 1, tzinfo=timezone.utc)
    company, lookback = RecordingList("company_recordings", "1"), timedelta(hours=48)

    def gap(first: float, last: float, account: str = "1") -> Gap:
        start, until = end + timedelta(hours=first), end + timedelta(hours=last)
        return Gap(account, "company_recordings", "", start, until)

    assert is_read_again(gap(-48, -47), {company: end}, lookback)
    assert is_read_again(gap(-48, 0), {company: end}, lookback)
    assert not is_read_again(gap(-49, -47), {company: end}, lookback)  # no sync reads its first hour again
    assert not is_read_again(gap(-48, 1), {company: end}, lookback)  # its last hour was never read
    assert not is_read_again(gap(-48, -47, "2"), {company: end}, lookback)


@pytest.mark.parametrize(
    ("since", "until", "expected"),
    [
        (None, None, ["2025-02-01/2025-05-30", "2025-05-30/2025-06-01"]),
        ("2025-05-31", None, ["2025-05-31/2025-06-01"]),
        ("2025-03-01", "2025-04-01", ["2025-03-01/2025-04-01"]),
    ],
)
def test_the_span_that_every_sync_reads_again_is_compared_by_itself(
    since: str | None, until: str | None, expected: list[str]
) -> None:
    now = datetime(2025, 6, 1, tzinfo=timezone.utc)
    bounds = [
        datetime.fromisoformat(text).replace(tzinfo=timezone.utc) if text else None for text in (since, until)
    ]
    plan = make_plan(make_config(), now, *bounds)
    reported = [f"{window.start:%Y-%m-%d}/{window.end:%Y-%m-%d}" for window in plan.windows]
    assert reported == expected
    assert (plan.recent is None) == (until is not None)


@pytest.mark.slow
def test_a_new_column_of_a_table_appears_in_the_view(prepare: Prepare) -> None:
    stand = prepare(still_gateway(recordings=20), "company_recordings")
    assert stand.verify().ok
    stand.gateway.company.add(id=7, start=ago(0.5), duration=1000, sentiment="good")
    stand.sync("company_recordings")  # the view is no obstacle
    assert stand.verify().ok
    assert stand.query("SELECT id FROM current_recordings WHERE sentiment = 'good'") == [(7,)]


def test_bounds_in_the_wrong_order_are_wrong_usage() -> None:
    bounds = ("--since", "2026-01-01", "--until", "2025-01-01")
    done = CliRunner().invoke(main, ["verify", *bounds])
    assert (done.exit_code, done.stdout) == (2, "")
    assert "--since is after --until" in done.stderr


@pytest.mark.slow
def test_the_command_and_the_script_report_by_their_exit_status(prepare: Prepare, own_folder: Path) -> None:
    gateway = still_gateway()
    for number in range(50):  # none of them in the lookback, which is not compared
        gateway.company.add(id=1 + number, start=ago(days=3 + number))
    stand = prepare(gateway, shared=True)
    stand.gateway.company.delete(7)

    def run(*options: str) -> tuple[int, dict[str, object], str]:
        done = run_vbc(own_folder, stand.url, "verify", *options, "--json")
        return done.returncode, json.loads((done.stdout or "{}").splitlines()[-1]), done.stdout

    code, result, text = run()
    assert (code, result["ok"], result["gone"]) == (1, False, 1)
    assert text.startswith("DIFFERS: 1 gone at VBC; 49 at VBC from ")
    repaired = subprocess.run(
        [sys.executable, script("vbc_verify_pipeline.py")],
        cwd=own_folder,
        env=environment(
            stand.url, own_folder, DESTINATION__DUCKDB__CREDENTIALS=str(own_folder / "vbc.duckdb")
        ),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert repaired.stdout.startswith("Nothing is missing now: 49 recordings at VBC from ")
    code, result, text = run("--recording-type", "company", "--deep")
    assert (code, result["ok"], result["spans"]) == (0, True, [])
    assert "549825   -     company   49      50         0           1  equal" in text


@pytest.mark.slow
def test_counts_that_never_add_up_are_known_gaps_and_nothing_is_marked_as_gone(prepare: Prepare) -> None:
    stand = prepare(None, "company_recordings")
    stand.gateway.fault("wrong-totals*always@/company_call_recordings")
    outcome = stand.verify(repair=True)
    assert not outcome.ok
    assert outcome.known_gaps > 0
    assert (outcome.missing, outcome.gone, outcome.tombstoned) == (0, 0, 0)
    assert "known gap" in outcome.summary()[0]
    stand.gateway.heal()
    assert stand.verify().ok


def test_a_repair_proves_what_was_there_when_it_was_read(prepare: Prepare) -> None:
    stand = prepare(None, "company_recordings")
    add_and_delete(stand)
    before = datetime.now(timezone.utc)
    stand.verify(repair=True)
    read = [row[0] for row in stand.query("SELECT max(scanned_at) FROM scan_windows")]
    assert before <= read[0] <= before + timedelta(seconds=1)
