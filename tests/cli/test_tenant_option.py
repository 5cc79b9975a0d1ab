"""`--tenant`: one customer or all, each in a dataset of its own; one that fails does not stop the others."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import duckdb
import pytest
from loading import LOGIN, run_vbc, still_gateway
from prometheus_client.parser import text_string_to_metric_families

from vbc_source.cli.app import main
from vbc_source.emulator import Gateway

Serve = Callable[[Gateway], str]
NOWHERE = "http://127.0.0.1:9"
ACCOUNTS = {"acme": "549825", "globex": "777"}
RUNS = ("--tenant", "all")


def tenant(name: str, url: str, **changed: str) -> dict[str, str]:
    """The settings of a tenant, as environment variables."""
    login = {f"CREDENTIALS__{key.upper()}": value for key, value in LOGIN.items()}
    settings = {"BASE_URL": url, **login, **changed}
    return {f"SOURCES__VBC__TENANTS__{name.upper()}__{key}": value for key, value in settings.items()}


def read_tenant(folder: Path, name: str, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(folder / f"tenant_{name}.duckdb"), read_only=True) as connection:
        return connection.execute(sql).fetchall()


@pytest.fixture
def gateways(serve: Serve) -> dict[str, Gateway]:
    return {name: still_gateway(recordings=20 + len(name), account_id=id_) for name, id_ in ACCOUNTS.items()}


@pytest.fixture
def run(serve: Serve, gateways: dict[str, Gateway], own_folder: Path) -> Callable[..., Any]:
    """Run a command with two tenants that work, and one with a wrong password between them."""
    settings = {"SOURCES__VBC__RETRY_SECONDS": "0.2", "SOURCES__VBC__USER_IDS": "[]"}
    for name, gateway in gateways.items():
        settings |= tenant(name, serve(gateway))
    url = settings["SOURCES__VBC__TENANTS__ACME__BASE_URL"]
    settings |= tenant("broken", url, CREDENTIALS__PASSWORD="mistyped", CREDENTIALS__USERNAME="other")
    return lambda *arguments, **changed: run_vbc(own_folder, NOWHERE, *arguments, **{**settings, **changed})


@pytest.mark.slow
def test_one_that_fails_does_not_stop_the_others_and_status_shows_all_together(
    run: Callable[..., Any], gateways: dict[str, Gateway], own_folder: Path
) -> None:
    done = run("sync", *RUNS, "--json")
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert lines[-1] == "vbc sync: 1 of 3 tenants failed: broken"
    assert [line for line in lines if line.startswith("vbc sync: tenant broken: VBC refused the login")]
    result = json.loads(done.stdout.splitlines()[-1])
    assert (result["ok"], list(result["tenants"])) == (False, ["acme", "broken", "globex"])
    assert "refused the login" in result["tenants"]["broken"]["error"]
    for name, gateway in gateways.items():
        assert result["tenants"][name]["recordings"] == len(gateway.company)
        rows = f"SELECT account_id, count(*) FROM vbc_{name}.company_recordings GROUP BY ALL"
        assert read_tenant(own_folder, name, rows) == [(ACCOUNTS[name], len(gateway.company))]
    assert "mistyped" not in done.stdout + done.stderr

    shown = run("status", *RUNS)
    head, acme, broken, globex = shown.stdout.splitlines()
    assert head.split()[:3] == ["TENANT", "LAG", "RECORDINGS"]
    assert (acme.split()[0], acme.split()[-1]) == ("acme", "ok")
    assert (broken.split()[0], globex.split()[-1]) == ("broken", "ok")
    assert "nothing was ever loaded there" in broken
    assert shown.returncode == 1
    assert "vbc status: 1 of 3 tenants failed: broken" in shown.stderr

    page = run("status", *RUNS, "--format", "prometheus").stdout
    samples = [sample for family in text_string_to_metric_families(page) for sample in family.samples]
    ok = {sample.labels["tenant"]: sample.value for sample in samples if sample.name == "vbc_ok"}
    assert ok == {"acme": 1, "broken": 0, "globex": 1}
    assert page.count("# TYPE vbc_lag_seconds gauge") == 1
    rows = {sample.labels["tenant"]: sample.value for sample in samples if sample.name == "vbc_list_rows"}
    assert rows == {"acme": 24, "globex": 26}

    (line,) = run("status", *RUNS, "--format", "json").stdout.splitlines()
    found = {name: result["ok"] for name, result in json.loads(line)["tenants"].items()}
    assert found == {"acme": True, "broken": False, "globex": True}
    one = json.loads(run("status", "--tenant", "acme", "--format", "json").stdout)
    assert (one["ok"], one["dataset"]) == (True, "vbc_acme")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("sync", "--tenant", "hooli"), "no such tenant: hooli; choose from acme, broken, globex"),
        (("sync", *RUNS, "--dataset", "x"), "--dataset goes with one tenant"),
        (("sync", *RUNS, "--resources", "faxes"), "no such resource: faxes"),
        (("dashboard", *RUNS), "takes the name of one tenant here"),
        (("recordings", "delete", "5", "--yes", *RUNS), "takes the name of one tenant here"),
    ],
)
def test_wrong_usage_is_exit_2_and_sends_nothing(
    run: Callable[..., Any], gateways: dict[str, Gateway], arguments: tuple[str, ...], message: str
) -> None:
    failed = run(*arguments)
    assert failed.returncode == 2
    assert message in failed.stderr
    assert not any(gateway.requests for gateway in gateways.values())


def test_without_tenants_all_is_wrong_usage(own_folder: Path) -> None:
    failed = run_vbc(own_folder, NOWHERE, "sync", *RUNS)
    assert (failed.returncode, failed.stderr) == (
        2,
        "vbc sync: no tenant is configured: add [sources.vbc.tenants.NAME]\n",
    )


def list_commands(command: click.Command, name: str = "vbc") -> list[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        return [
            pair for sub in command.commands for pair in list_commands(command.commands[sub], f"{name} {sub}")
        ]
    return [(name, command)]


def test_every_command_that_reads_settings_takes_a_tenant() -> None:
    without = {
        name for name, command in list_commands(main) if "tenant" not in {p.name for p in command.params}
    }
    assert without == {"vbc demo", "vbc emulator"}


def test_single_recordings_and_checks_are_those_of_the_tenant(
    run: Callable[..., Any], gateways: dict[str, Gateway]
) -> None:
    first = gateways["globex"].company.all()[0]
    shown = run("recordings", "show", str(first["id"]), "--tenant", "globex", "--json")
    assert json.loads(shown.stdout.splitlines()[-1])["recording"]["call_id"] == first["call_id"]
    listed = json.loads(run("recordings", "list", *RUNS, "--json").stdout.splitlines()[-1])["tenants"]
    assert (len(listed["acme"]["recordings"]), listed["broken"]["ok"]) == (20, False)
    checked = run("doctor", *RUNS)
    assert checked.stdout.count("Tenant ") == 3
    assert "account 777: 26 company recordings" in checked.stdout
    assert checked.stderr.splitlines()[-1] == "vbc doctor: 1 of 3 tenants failed: broken"


@pytest.mark.slow
def test_a_destination_for_all_is_for_the_tenants_that_name_none(
    run: Callable[..., Any], gateways: dict[str, Gateway], own_folder: Path
) -> None:
    own = {
        "SOURCES__VBC__TENANTS__ACME__DESTINATION": "theirs",
        "DESTINATION__THEIRS__DESTINATION_TYPE": "duckdb",
        "DESTINATION__THEIRS__CREDENTIALS": f"duckdb:///{own_folder}/theirs.duckdb",
    }
    assert run("sync", *RUNS, "--destination", "duckdb", **own).returncode == 1  # one has a wrong password
    with duckdb.connect(str(own_folder / "theirs.duckdb"), read_only=True) as connection:
        rows = connection.execute("SELECT count(*) FROM vbc_acme.company_recordings").fetchall()
    assert rows == [(len(gateways["acme"].company),)]
    assert read_tenant(own_folder, "globex", "SELECT count(*) FROM vbc_globex.company_recordings")
    assert not (own_folder / "tenant_acme.duckdb").exists()


def mend() -> dict[str, str]:
    """The settings with which the third tenant works too, and buckets of their own."""
    place = "SOURCES__VBC__TENANTS__"
    login = {f"{place}BROKEN__CREDENTIALS__{name.upper()}": value for name, value in LOGIN.items()}
    buckets = {f"{place}{name.upper()}__AUDIO__BUCKET_URL": name for name in (*ACCOUNTS, "broken")}
    return {**login, **buckets}


@pytest.mark.slow
def test_commands_for_all_tenants_keep_them_apart(run: Callable[..., Any], own_folder: Path) -> None:
    for arguments in (
        ("backfill", "--start-date", "2020-01-01", "--end-date", "2030-01-01", "--window", "9999"),
        ("verify",),
        ("audio", "--limit", "2"),
        ("retention", "--older-than", "1"),
        ("export", "list"),
        ("export", "create"),
    ):
        done = run(*arguments, *RUNS, **mend())
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)
    for name in ACCOUNTS:
        assert len([path for path in (own_folder / name).rglob("*") if path.suffix in (".mp3", ".wav")]) == 2
        sql = f"SELECT count(*) FROM vbc_{name}.recording_audio WHERE status = 'stored'"
        assert read_tenant(own_folder, name, sql) == [(2,)]


@pytest.mark.slow
def test_of_a_shared_bucket_a_tenant_takes_its_own_accounts_alone(
    run: Callable[..., Any], own_folder: Path
) -> None:
    shared = {"SOURCES__VBC__AUDIO__BUCKET_URL": str(own_folder / "shared")}
    for name in ACCOUNTS:
        for arguments in (("sync",), ("audio",)):
            done = run(*arguments, "--tenant", name, **shared)
            assert done.returncode == 0, done.stderr
    count = "SELECT account_id, count(*) FROM vbc_acme.{} GROUP BY 1"
    tables = ("recording_audio", "company_recordings")
    before = [read_tenant(own_folder, "acme", count.format(table)) for table in tables]
    done = run("fixity", "--tenant", "acme", "--json", **shared)
    checked = json.loads(done.stdout.splitlines()[-1])
    assert (checked["ok"], checked["unknown"]) == (True, 0)

    (own_folder / "tenant_acme.duckdb").unlink()
    rebuild = ("audio", "--rebuild-ledger", "--tenant", "acme", "--json")
    done = run(*rebuild, **shared, **tenant("acme", NOWHERE))
    assert done.returncode == 1
    assert "set account_id in [sources.vbc.tenants.acme]" in done.stderr
    done = run(*rebuild, **shared)  # VBC says which account it is
    rebuilt = json.loads(done.stdout.splitlines()[-1])
    assert (done.returncode, rebuilt["left_out"]) == (0, ["account_id=777"]), done.stderr
    assert [read_tenant(own_folder, "acme", count.format(table)) for table in tables] == before


@pytest.mark.slow
def test_models_and_a_report_for_each_tenant(run: Callable[..., Any], own_folder: Path) -> None:
    """dbt leaves the database to the next tenant."""
    for arguments in (("sync",), ("models", "run"), ("report", "--out", "figures.html")):
        done = run(*arguments, *RUNS, **mend())
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)
    names = {f"figures-{name}.html" for name in ("acme", "broken", "globex")}
    assert {path.name for path in own_folder.glob("figures*")} == names
    sql = "SELECT count(*) FROM vbc_globex_models.recordings"
    assert read_tenant(own_folder, "globex", sql) == [(26,)]


def test_a_message_names_the_tables_of_the_tenant(own_folder: Path) -> None:
    settings = tenant("acme", NOWHERE, CREDENTIALS__PASSWORD="", CALL_LOGS="true")
    done = run_vbc(own_folder, NOWHERE, "sync", "--tenant", "acme", **settings)
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("vbc sync: "))
    assert line.endswith("in [sources.vbc.tenants.acme.credentials]")
    checks = run_vbc(own_folder, NOWHERE, "doctor", "--tenant", "acme", **settings).stdout
    assert "set password in [sources.vbc.tenants.acme.credentials]" in checks
    status = run_vbc(own_folder, NOWHERE, "status", "--tenant", "acme", **settings).stdout
    assert "[sources.vbc.tenants.acme.credentials]" in status
    assert "[sources.vbc.credentials]" not in done.stderr + checks + status
