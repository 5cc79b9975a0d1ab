"""The `vbc` command as a shell meets it: exit codes, one clear line, JSON, and nothing private."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest
from in_process import run_in_process
from loading import LOGIN, environment, read_database, run_vbc, still_gateway, vbc

from vbc_source.emulator import Gateway

Serve = Callable[[Gateway], str]

ONLY = ("sync", "--resources", "company_recordings")  # where the other lists add nothing but time


def test_sync_loads_and_says_what_it_did(serve: Serve, own_folder: Path) -> None:
    gateway = still_gateway(recordings=300)
    done = run_vbc(own_folder, serve(gateway), "sync", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["ok"]
    assert result["recordings"] == len(gateway.company)
    listed = [request for request in gateway.requests if "call_recordings" in request.path]
    # with the API user's list and jobs, but not what was asked to find out which account `self` is
    assert result["requests"] == sum(request.query["page_size"] != "1" for request in listed)
    assert result["users"] == 1
    assert read_database(own_folder, "SELECT count(*) FROM vbc_data.company_recordings") == [
        (len(gateway.company),)
    ]


def test_sync_runs_until_nothing_is_left(serve: Serve, own_folder: Path) -> None:
    gateway = still_gateway(recordings=3000)
    done = run_vbc(own_folder, serve(gateway), *ONLY, SOURCES__VBC__ROWS_PER_RUN="100")
    assert done.returncode == 0, done.stderr
    found = read_database(own_folder, "SELECT count(*), count(DISTINCT id) FROM vbc_data.company_recordings")
    assert found == [(len(gateway.company), len(gateway.company))]


def test_sync_finishes_what_a_failed_run_left_and_then_reads(serve: Serve, own_folder: Path) -> None:
    gateway = still_gateway(recordings=300)
    url = serve(gateway)
    # the database is a folder: extraction works, loading does not
    (own_folder / "vbc.duckdb").mkdir()
    failed = run_vbc(own_folder, url, *ONLY, RESTORE_FROM_DESTINATION="false")
    assert failed.returncode == 1
    (own_folder / "vbc.duckdb").rmdir()
    done = run_vbc(own_folder, url, *ONLY)
    assert done.returncode == 0, done.stderr
    found = read_database(own_folder, "SELECT count(*), count(DISTINCT id) FROM vbc_data.company_recordings")
    assert found == [(len(gateway.company), len(gateway.company))]


@pytest.mark.slow
def test_the_database_is_the_one_in_this_folder_and_each_has_its_own_cursor(
    serve: Serve, own_folder: Path
) -> None:
    """dlt keeps a pipeline's state by name: two folders must not share a cursor."""
    gateway = still_gateway(recordings=300)
    url = serve(gateway)
    data = {"DLT_DATA_DIR": str(own_folder / "shared")}
    for name in ("first", "second", "first", "second"):
        folder = own_folder / name
        folder.mkdir(exist_ok=True)
        assert run_vbc(folder, url, "sync", **data).returncode == 0
        gateway.company.add(start=gateway.company.all()[0]["start"])
    for name, unseen in (("first", 2), ("second", 1)):
        found = read_database(own_folder / name, "SELECT count(*) FROM vbc_data.company_recordings")
        assert found == [(len(gateway.company) - unseen,)]


@pytest.mark.slow
def test_runs_at_the_same_time_take_turns(serve: Serve, own_folder: Path) -> None:
    """Two folders, two accounts, one data folder of dlt: each gets its own rows, all of them."""
    gateways = {
        "first": still_gateway(recordings=400),
        "second": still_gateway(recordings=300, account_id="777"),
    }
    accounts = {"first": "549825", "second": "777"}
    data = {"DLT_DATA_DIR": str(own_folder / "shared")}
    running = []
    for name, gateway in [*gateways.items(), *gateways.items()]:
        folder = own_folder / name
        folder.mkdir(exist_ok=True)
        started = subprocess.Popen(
            vbc("sync"),
            cwd=folder,
            env={**environment(serve(gateway), folder), **data},
            stderr=subprocess.DEVNULL,
        )
        running.append(started)
    assert [process.wait(timeout=120) for process in running] == [0, 0, 0, 0]
    for name, gateway in gateways.items():
        sql = "SELECT account_id, count(*) FROM vbc_data.company_recordings GROUP BY ALL"
        assert read_database(own_folder / name, sql) == [(accounts[name], len(gateway.company))]


@pytest.mark.slow
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_at_once_with_a_word_and_the_next_run_completes(
    serve: Serve, own_folder: Path, stop: signal.Signals
) -> None:
    gateway = still_gateway(recordings=50, faults=["latency-60000@/company_call_recordings"])
    url = serve(gateway)
    with subprocess.Popen(
        vbc("sync", "--json"),
        cwd=own_folder,
        env=environment(url, own_folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        while not gateway.requests:  # until the login is done, and a list is requested
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(stop)
        output, errors = process.communicate(timeout=45)
    assert process.returncode == 1
    assert errors == "vbc sync: interrupted; the next run continues where this one stopped\n"
    assert json.loads(output)["error"] == "interrupted"
    gateway.heal()
    assert run_vbc(own_folder, url, "sync").returncode == 0


def test_a_wrong_password_is_one_login_and_one_clear_line(serve: Serve, own_folder: Path) -> None:
    gateway = still_gateway(recordings=10)
    url = serve(gateway)
    for _ in range(2):  # cron comes again: the refusal is remembered
        failed = run_vbc(own_folder, url, "sync", SOURCES__VBC__CREDENTIALS__PASSWORD="mistyped")
        assert failed.returncode == 1
        lines = [line for line in failed.stderr.splitlines() if line]
        assert len(lines) == 1
        assert "check username and password" in lines[0]
        assert "30 minutes" in lines[0]
        assert "mistyped" not in failed.stderr + failed.stdout
    assert gateway.tokens.logins == 1
    assert run_vbc(own_folder, url, *ONLY).returncode == 0


def test_a_missing_subscription_is_one_request_and_names_the_api(serve: Serve, own_folder: Path) -> None:
    gateway = still_gateway(recordings=10, faults=["unsubscribed*always"])
    failed = run_vbc(own_folder, serve(gateway), "sync", "--json")
    assert failed.returncode == 1
    assert gateway.count("company_call_recordings") == 1
    (line,) = [line for line in failed.stderr.splitlines() if line]
    assert "Call Recording API" in line
    assert "not subscribed" in line
    assert json.loads(failed.stdout.splitlines()[-1]) == {
        "ok": False,
        "error": line.removeprefix("vbc sync: "),
    }


@pytest.mark.parametrize(
    "arguments",
    [
        ("sync", "--start-date", "yesterday"),
        ("sync", "--end-date", "2025-13-01"),
        ("sync", "--unknown"),
        ("emulator", "--fault", "no-such-fault"),
    ],
)
def test_wrong_usage_is_exit_2_and_sends_nothing(own_folder: Path, arguments: tuple[str, ...]) -> None:
    failed = run_vbc(own_folder, "http://127.0.0.1:9", *arguments)
    assert failed.returncode == 2
    assert "Error: Invalid value" in failed.stderr or "No such option" in failed.stderr


def test_an_unknown_resource_is_reported_with_the_known_ones(own_folder: Path) -> None:
    failed = run_vbc(own_folder, "http://127.0.0.1:9", "sync", "--resources", "company_recordings,faxes")
    assert failed.returncode == 2
    assert "no such resource: faxes; choose from company_recordings" in failed.stderr


def test_several_accounts_can_come_from_the_environment(serve: Serve, own_folder: Path) -> None:
    gateway = still_gateway(recordings=20)
    changed = {"SOURCES__VBC__ACCOUNT_ID": '["549825", "999"]', "SOURCES__VBC__ON_FORBIDDEN": "skip"}
    done = run_vbc(own_folder, serve(gateway), *ONLY, **changed)
    assert done.returncode == 0, done.stderr
    assert "left out, forbidden: account 999" in done.stderr
    assert gateway.count("accounts/549825/company") == gateway.count("accounts/999/company") == 1


def test_a_path_that_the_gateway_does_not_know_names_its_setting(serve: Serve, own_folder: Path) -> None:
    url = serve(still_gateway(recordings=1))
    done = run_vbc(own_folder, url, "sync", SOURCES__VBC__RECORDING_API="/t/vbc.prod/call_recordings/api")
    assert done.returncode == 1
    assert "HTTP 404" in done.stderr.splitlines()[-1]
    assert "check account_id and recording_api" in done.stderr.splitlines()[-1]


def test_an_account_whose_users_are_not_known_names_its_setting(serve: Serve, own_folder: Path) -> None:
    url = serve(still_gateway(recordings=1, faults=("not-found*always@/provisioning/",)))
    done = run_vbc(own_folder, url, "sync")
    assert done.returncode == 1
    assert "Provisioning API, users of account 549825: " in done.stderr.splitlines()[-1]
    assert "check account_id" in done.stderr.splitlines()[-1]
    doctor = run_vbc(own_folder, url, "doctor")
    (line,) = [line for line in doctor.stdout.splitlines() if line.startswith("FAIL")]
    assert line.startswith("FAIL  Provisioning API: the VBC gateway has no such resource (HTTP 404)")
    assert "check account_id" in line


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("SOURCES__VBC__START_DATE", "last week", "start_date must be an ISO date"),
        ("SOURCES__VBC__PAGE_SIZE", "0", "page_size must be a whole number"),
        pytest.param("SOURCES__VBC__PAGE_SIZE", "many", "page_size", marks=pytest.mark.slow),
        pytest.param(
            "SOURCES__VBC__ON_FORBIDDEN",
            "ignore",
            "on_forbidden must be raise or skip",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "SOURCES__VBC__BASE_URL",
            "api.vonage.com",
            "base_url must begin with https://",
            marks=pytest.mark.slow,
        ),
        ("SOURCES__VBC__CREDENTIALS__CLIENT_SECRET", "", "credentials are missing: set client_secret"),
        (
            "SOURCES__VBC__PAGE_SISE",
            "5",
            "there is no setting page_sise in [sources.vbc]: did you mean page_si",
        ),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it(
    own_folder: Path, name: str, value: str, message: str
) -> None:
    failed = run_vbc(own_folder, "http://127.0.0.1:9", "sync", **{name: value})
    assert failed.returncode == 1
    (line,) = [line for line in failed.stderr.splitlines() if line]
    assert message in line


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[sources.vbc]\npi = "hash"', "there is no setting pi in [sources.vbc]: did you mean pii?"),
        (
            "[sources.vbc.credentials]\nusernam = 5",
            "no setting usernam in [sources.vbc.credentials]: did you mean username?",
        ),
        (
            "[sources.vbc.audio]\nlegal_holds = true",
            "no setting legal_holds in [sources.vbc.audio]: did you mean legal_hold?",
        ),
        (
            "[sources.vbc.tenants.acme]\nwhatever_it_is = 5",
            "there is no setting whatever_it_is in [sources.vbc.tenants.acme]: docs/reference/settings.md",
        ),
    ],
)
def test_a_misspelt_setting_is_refused_and_the_right_name_is_shown(
    own_folder: Path, text: str, message: str
) -> None:
    (own_folder / ".dlt").mkdir()
    (own_folder / ".dlt" / "config.toml").write_text(text)
    tenant = ("--tenant", "acme") if "acme" in text else ()
    for command in ("sync", "status"):
        failed = run_vbc(own_folder, "http://127.0.0.1:9", command, *tenant)
        assert failed.returncode == 1
        assert message in failed.stderr.splitlines()[-1]
    assert message in run_vbc(own_folder, "http://127.0.0.1:9", "doctor", *tenant).stdout


def test_settings_of_dlt_itself_are_not_refused(serve: Serve, own_folder: Path) -> None:
    (own_folder / ".dlt").mkdir()
    (own_folder / ".dlt" / "config.toml").write_text(
        "[sources.vbc.data_writer]\nbuffer_max_items = 100\n[sources.vbc.extract]\nworkers = 2\n"
        '[sources.vbc]\ndocument = {a = "table"}\nbucket_url = "audio"\n'
    )
    done = run_vbc(own_folder, serve(still_gateway(recordings=5)), *ONLY)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_full_or_forbidden_disk_is_one_clear_line_and_loses_nothing(serve: Serve, own_folder: Path) -> None:
    gateway = still_gateway(recordings=50)
    url = serve(gateway)
    target = "DESTINATION__DUCKDB__CREDENTIALS"
    failed = run_vbc(own_folder, url, "sync", **{target: "duckdb:////dev/full/vbc.duckdb"})
    assert failed.returncode == 1
    assert "Traceback" not in failed.stderr
    assert "/dev/full" in failed.stderr.splitlines()[-1]
    done = run_vbc(own_folder, url, "sync")
    assert done.returncode == 0, done.stderr
    assert read_database(own_folder, "SELECT count(*) FROM vbc_data.company_recordings") == [
        (len(gateway.company),)
    ]


def test_doctor_finds_all_well(serve: Serve, own_folder: Path) -> None:
    done = run_vbc(own_folder, serve(still_gateway(recordings=50)), "doctor", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    findings = {found["subject"]: found for found in json.loads(done.stdout.splitlines()[-1])["findings"]}
    assert findings["login"]["works"]
    assert "account 549825: 50 company recordings" in findings["company recordings of self"]["text"]
    assert findings["destination"]["works"]
    assert findings["Provisioning API"]["text"] == "subscribed; 1 users"


def test_doctor_needs_the_provisioning_api_only_where_all_users_are_read(
    serve: Serve, own_folder: Path
) -> None:
    url = serve(still_gateway(recordings=5, faults=["unsubscribed*always@/provisioning/"]))
    failed = run_vbc(own_folder, url, "doctor")
    assert failed.returncode == 1
    assert "FAIL  Provisioning API: " in failed.stdout
    assert "set user_ids" in failed.stdout
    done = run_vbc(own_folder, url, "doctor", SOURCES__VBC__USER_IDS="[]")
    assert done.returncode == 0
    assert "note  Provisioning API: " in done.stdout


@pytest.mark.parametrize(
    ("changed", "faults", "message"),
    [
        pytest.param(
            {"SOURCES__VBC__CREDENTIALS__PASSWORD": ""},
            (),
            "FAIL  credentials: set password",
            marks=pytest.mark.slow,
        ),
        ({"SOURCES__VBC__CREDENTIALS__PASSWORD": "mistyped"}, (), "FAIL  login: VBC refused the login"),
        ({}, ("unsubscribed*always",), "FAIL  company recordings of self: Call Recording API"),
        pytest.param(
            {"SOURCES__VBC__ACCOUNT_ID": "999"}, (), "FAIL  company recordings of 999", marks=pytest.mark.slow
        ),
        pytest.param({}, ("down",), "FAIL  login: login at http", marks=pytest.mark.slow),
        ({"DESTINATION__DUCKDB__CREDENTIALS": "duckdb:////dev/full/x.duckdb"}, (), "FAIL  destination:"),
    ],
)
def test_doctor_says_what_does_not_work(
    serve: Serve, own_folder: Path, changed: dict[str, str], faults: tuple[str, ...], message: str
) -> None:
    done = run_vbc(own_folder, serve(still_gateway(recordings=5, faults=faults)), "doctor", **changed)
    assert done.returncode == 1
    assert message in done.stdout
    assert "mistyped" not in done.stdout + done.stderr


@pytest.mark.slow
def test_no_token_secret_number_or_name_is_in_the_output_at_level_debug(
    serve: Serve, own_folder: Path
) -> None:
    gateway = still_gateway(
        recordings=400, faults=["token-expired", "throttled:xml", "suspended", "cut-json"]
    )
    url = serve(gateway)
    loud = "import logging; logging.basicConfig(level=logging.DEBUG)"
    run = f"{loud}; from vbc_source.cli import main; main(['sync', '--debug'])"
    done = subprocess.run(
        [vbc()[0], "-c", run],
        cwd=own_folder,
        env=environment(url, own_folder, RUNTIME__LOG_LEVEL="DEBUG"),
        capture_output=True,
        text=True,
        check=True,
    )
    output = done.stdout + done.stderr
    assert output.count("\n") > 50
    rows = gateway.company.all()
    private = {str(row[name]) for row in rows for name in ("caller_id", "dnis", "cnam") if row.get(name)}
    private = {word for word in private if len(word) > 6} - {"Anonymous"}  # shorter ones are extensions
    private |= {LOGIN["client_secret"], LOGIN["password"]}
    private |= {
        request.headers["authorization"].removeprefix("Bearer ")
        for request in gateway.requests
        if "authorization" in request.headers
    }
    assert len(private) > 100
    assert not [word for word in private if re.search(rf"(?<!\d){re.escape(word)}(?!\d)", output)]


@pytest.mark.slow
def test_the_demo_leaves_the_models_out_where_dbt_is_not_installed(
    own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "dbt", None)  # type: ignore[arg-type]  # importing it fails
    nowhere = "http://127.0.0.1:9"
    refused = run_vbc(own_folder, nowhere, "demo", "--recordings", "100", "--models")
    assert refused.returncode == 1
    assert "dbt is not installed: install the extra `dbt`" in refused.stderr
    assert not (own_folder / "vbc.duckdb").exists()
    done = run_vbc(own_folder, nowhere, "demo", "--recordings", "100")
    assert done.returncode == 0, done.stderr
    assert "needs the extras dashboard and dbt" in done.stdout
    assert "Building the models" not in done.stdout


@pytest.mark.slow
def test_the_demo_loads_and_a_second_one_loads_what_has_arrived(own_folder: Path) -> None:
    results = []
    for _ in range(2):
        done = run_vbc(
            own_folder, "http://127.0.0.1:9", "demo", "--recordings", "2000", "--no-models", "--json"
        )
        assert done.returncode == 0, done.stderr
        assert "By direction" in done.stdout
        (again,) = re.findall("^  (.+?)  +again:", done.stdout, re.MULTILINE)
        assert again == "vbc demo"  # this folder is no checkout, so that there is no make and no .venv
        results.append(json.loads(done.stdout.splitlines()[-1]))
    assert results[0]["recordings"] > 1900
    assert results[1]["requests"] == 49  # the company, 24 users, and their export jobs
    # one of them may be the recording that VBC loses
    assert 20 <= len(list((own_folder / "demo_audio").rglob("*.mp3"))) <= 25
    gone = read_database(own_folder, "SELECT count(*) FROM vbc_data.recording_tombstones")
    names = read_database(own_folder, "SELECT count(DISTINCT user_first_name) > 10 FROM vbc_data.extensions")
    assert (gone, names) == ([(1,)], [(True,)])
    assert "40 of them new" in done.stdout


def test_every_command_has_help_and_a_line_in_the_readme(own_folder: Path) -> None:
    listed = run_vbc(own_folder, "http://127.0.0.1:9", "--help").stdout
    commands = re.findall(r"^  (\w+)  +\S", listed.split("Commands:")[1], re.MULTILINE)
    assert {"sync", "doctor", "demo", "emulator"} <= set(commands)
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    for command in commands:
        helped = run_vbc(own_folder, "http://127.0.0.1:9", command, "--help")
        assert helped.returncode == 0
        assert len(helped.stdout.splitlines()) > 5
        assert f"vbc {command}" in readme


@pytest.mark.slow
def test_the_pipeline_script_loads_and_loads_again(serve: Serve, own_folder: Path) -> None:
    gateway = still_gateway(recordings=100)
    url = serve(gateway)
    script = Path(__file__).parents[2] / "pipelines" / "vbc_pipeline.py"
    for _ in range(2):
        subprocess.run(
            [vbc()[0], str(script)],
            cwd=own_folder,
            env=environment(url, own_folder),
            capture_output=True,
            check=True,
        )
    found = read_database(own_folder, "SELECT count(*), count(DISTINCT id) FROM vbc_data.company_recordings")
    assert found == [(len(gateway.company), len(gateway.company))]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vbc", "vbc_audio", "vbc_backfill", "vbc_verify"])
def test_a_pipeline_script_without_settings_ends_in_one_line(own_folder: Path, name: str) -> None:
    script = Path(__file__).parents[2] / "pipelines" / f"{name}_pipeline.py"
    settings = {**os.environ, "DLT_DATA_DIR": str(own_folder / "dlt")}
    command = [vbc()[0], str(script)]
    done = subprocess.run(command, cwd=own_folder, env=settings, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1].startswith(f"{name}_pipeline.py: ")
    assert "Traceback" not in done.stderr


def test_an_interrupt_while_the_process_ends_prints_nothing() -> None:
    lines = [
        "import atexit, os, signal",
        "from vbc_source.cli.process import tune_process",
        "atexit.register(os.kill, os.getpid(), signal.SIGINT)",  # runs behind what is registered later
        "tune_process()",
    ]
    done = subprocess.run([vbc()[0], "-c", "; ".join(lines)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("unbuffered", ["1", ""])
def test_a_result_that_cannot_be_written_is_a_failure_in_one_line(own_folder: Path, unbuffered: str) -> None:
    environ = {**environment("http://127.0.0.1:9", own_folder), "PYTHONUNBUFFERED": unbuffered}
    with Path("/dev/full").open("w") as full:
        command = vbc("emulator", "--fault", "list", "--json")
        done = subprocess.run(
            command, cwd=own_folder, env=environ, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    assert "vbc emulator: the result cannot be written: No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_no_name_ends_a_command_whatever_the_encoding_of_the_output(
    serve: Serve, own_folder: Path, encoding: str
) -> None:
    gateway = still_gateway(recordings=3)
    gateway.company.add(id=77, cnam="ŻÓŁĆ 名前", call_direction="IN\nforged\x1b")
    url = serve(gateway)
    for command in (["recordings", "list"], ["recordings", "show", "77"], ["recordings", "list", "--json"]):
        settings = environment(url, own_folder, PYTHONIOENCODING=encoding)
        done = subprocess.run(vbc(*command), cwd=own_folder, env=settings, capture_output=True, check=False)
        output = (done.stdout + done.stderr).decode(encoding, "replace")  # click writes UTF-8 for ASCII
        assert done.returncode == 0, output
        assert "\nforged" not in output
        assert "\x1b" not in output


@pytest.mark.slow
def test_allowed_accounts_are_loaded_before_the_run_fails_with_one_line(
    serve: Serve, own_folder: Path
) -> None:
    gateway = still_gateway(recordings=20, users=1)
    url, accounts = serve(gateway), {"SOURCES__VBC__ACCOUNT_ID": "549825,999"}
    failed = run_vbc(own_folder, url, "sync", **accounts)
    assert failed.returncode == 1
    (line,) = [line for line in failed.stderr.splitlines() if line.startswith("vbc sync: ")]
    assert "company recordings of account 999: the API user is not authorized" in line
    rows = "SELECT account_id, count(*) FROM vbc_data.company_recordings GROUP BY ALL"
    assert read_database(own_folder, rows) == [("549825", len(gateway.company))]
    skipped = {**accounts, "SOURCES__VBC__ON_FORBIDDEN": "skip"}
    assert run_vbc(own_folder, url, "sync", **skipped).returncode == 0
    shown = run_vbc(own_folder, url, "status", **skipped)
    assert "may not read them: company_recordings of account 999, " in shown.stdout
    checked = run_vbc(own_folder, url, "doctor", **skipped)
    assert (checked.returncode, "note  company recordings of 999: " in checked.stdout) == (0, True)


def test_the_demo_does_not_mix_its_recordings_with_others(serve: Serve, own_folder: Path) -> None:
    url = serve(still_gateway(recordings=3))
    assert run_vbc(own_folder, url, "sync", "--resources", "company_recordings").returncode == 0
    failed = run_vbc(own_folder, url, "demo", "--recordings", "100", "--no-models")
    assert failed.returncode == 2
    assert "recordings that vbc demo has not loaded" in failed.stderr
    with duckdb.connect(str(own_folder / "vbc.duckdb"), read_only=True) as database:
        assert database.execute("SELECT count(*) FROM vbc_data.company_recordings").fetchall() == [(3,)]


def test_the_emulator_names_a_port_that_is_taken(own_folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        failed = run_vbc(own_folder, "http://127.0.0.1:9", "emulator", "--port", port, "--recordings", "100")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr == f"vbc emulator: port {port} is taken: choose another with --port\n"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("sync", "--json", "--max-requests", "many"), "is not a valid integer"),
        (("verify", "--json", "--nonsense"), "No such option"),
        (("recordings", "show", "--json"), "Missing argument"),
        (("evidence", "1", "--json", "--tenant", "all"), "takes the name of one tenant"),
        (("models", "--json"), "No such option"),
        (("export", "everything", "--json"), "No such command"),
        (("retention", "everything", "--json"), "No such command"),
        (("everything", "--json"), "No such command"),
        (("--json",), "No such option"),
    ],
)
def test_wrong_usage_is_one_json_line_too(own_folder: Path, arguments: tuple[str, ...], reason: str) -> None:
    failed = run_in_process(*arguments)
    assert failed.exit_code == 2
    printed = json.loads(failed.stdout)
    assert printed["ok"] is False
    assert reason in printed["error"]
    assert reason in failed.stderr


def test_status_prints_json_once_however_it_is_asked_for(own_folder: Path) -> None:
    printed = {
        run_in_process("status", *asked).stdout
        for asked in (["--format", "json"], ["--format", "json", "--json"])
    }
    (lines,) = printed
    assert json.loads(lines)["ok"] is False
