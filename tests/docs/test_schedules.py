"""Run the example lines for cron as cron does; check the systemd units with systemd itself."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from loading import LOGIN, read_database, still_gateway
from prometheus_client.parser import text_string_to_metric_families

from vbc_source.emulator import Gateway

Serve = Callable[[Gateway], str]

DOCS = Path(__file__).parents[2] / "docs"
HOME = "/srv/vbc"


def cron_lines() -> list[str]:
    """Return the commands of the example crontab, in its order."""
    lines = (DOCS / "crontab.example").read_text().splitlines()
    matches = [re.fullmatch(r"(?:\S+ ){5}(.+)", line) for line in lines if re.match(r"[*\d]", line)]
    return [match[1] for match in matches if match]


class Machine:
    """A folder as the examples expect it, in which lines run as by cron: by sh, in an empty environment."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        login = "".join(f'{name} = "{value}"\n' for name, value in LOGIN.items())
        (folder / ".dlt").mkdir()
        (folder / ".dlt" / "config.toml").write_text(
            f'[sources.vbc]\nbase_url = "{url}"\nretry_seconds = 0.2\n'
        )
        (folder / ".dlt" / "secrets.toml").write_text(f"[sources.vbc.credentials]\n{login}")
        (folder / ".venv" / "bin").mkdir(parents=True)
        (folder / ".venv" / "bin" / "vbc").symlink_to(Path(sys.executable).parent / "vbc")

    def run(self, line: str) -> subprocess.CompletedProcess[str]:
        assert "%" not in line  # cron replaces it by a newline
        empty = {
            "HOME": str(self.folder / "home"),
            "PATH": "/usr/bin:/bin",
            "SHELL": "/bin/sh",
            "LOGNAME": "vbc",
            "DLT_DATA_DIR": str(self.folder / "dlt"),  # otherwise root's runs would share one folder
        }
        return subprocess.run(
            ["/bin/sh", "-c", line.replace(HOME, str(self.folder))],
            env=empty,
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def log(self) -> str:
        return (self.folder / "sync.log").read_text()


needs_flock = pytest.mark.skipif(
    not shutil.which("flock"), reason="flock, of util-linux, is not installed here"
)


@needs_flock
@pytest.mark.slow
def test_cron_line_loads_prints_nothing_and_writes_a_log(serve: Serve, own_folder: Path) -> None:
    often, _, _, metrics = cron_lines()
    machine = Machine(own_folder, serve(still_gateway(recordings=20, users=2, user_recordings=4)))
    ran = machine.run(often)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    assert machine.log().count("recordings read and proven complete") == 1
    assert "21 of 21 model(s) built in vbc.duckdb, schema vbc_models, " in machine.log()
    assert read_database(own_folder, "SELECT recordings FROM vbc_models.freshness") == [(24,)]
    assert read_database(own_folder, "SELECT count(*) FROM vbc_data.company_recordings") == [(20,)]
    assert machine.run(metrics).returncode == 0
    assert [path.name for path in (own_folder / "metrics").iterdir()] == ["vbc.prom"]
    text = (own_folder / "metrics" / "vbc.prom").read_text()
    assert {"vbc_ok", "vbc_list_lag_seconds"} <= {
        metric.name for metric in text_string_to_metric_families(text)
    }


@needs_flock
@pytest.mark.slow
def test_nightly_line_loads_everything_and_the_lag_check_passes(serve: Serve, own_folder: Path) -> None:
    often, nightly, lag_check, _ = cron_lines()
    gateway = still_gateway(recordings=20, users=2, user_recordings=4)
    machine = Machine(own_folder, serve(gateway))
    for line in (often, nightly, lag_check):
        ran = machine.run(line)
        assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    assert machine.log().count("recordings read and proven complete") == 2
    assert read_database(own_folder, "SELECT count(*) FROM vbc_data.users") == [(len(gateway.users),)]


@needs_flock
@pytest.mark.slow
def test_failing_cron_line_prints_the_reason_for_cron_to_mail(serve: Serve, own_folder: Path) -> None:
    often, _, lag_check, metrics = cron_lines()
    machine = Machine(own_folder, serve(still_gateway(recordings=5, faults=("down",))))
    failed = machine.run(often)
    assert failed.returncode == 1
    assert failed.stdout.splitlines()[-1].startswith("vbc sync: ")
    assert "the VBC gateway did not answer properly (HTTP 503" in failed.stdout.splitlines()[-1]
    missed = machine.run(lag_check)
    assert (missed.returncode, missed.stdout) == (1, "")
    assert missed.stderr == "vbc status: nothing was ever loaded there: run vbc sync\n"
    assert machine.run(metrics).returncode == 0
    assert "vbc_ok{" in (own_folder / "metrics" / "vbc.prom").read_text()


@needs_flock
@pytest.mark.slow
def test_metrics_stay_as_they_were_while_nothing_can_be_read(serve: Serve, own_folder: Path) -> None:
    """An empty file would look fresh, and an alert on a value that is absent stays silent."""
    *_, metrics = cron_lines()
    machine = Machine(own_folder, serve(still_gateway(recordings=5)))
    assert machine.run(metrics).returncode == 0
    before = (own_folder / "metrics" / "vbc.prom").read_text()
    (own_folder / "vbc.duckdb").write_text("no database")
    assert machine.run(metrics).returncode == 0
    assert (own_folder / "metrics" / "vbc.prom").read_text() == before
    assert "vbc status: " in (own_folder / "status.log").read_text().splitlines()[-1]


@needs_flock
def test_cron_line_does_nothing_while_another_runs(serve: Serve, own_folder: Path) -> None:
    gateway = still_gateway(recordings=5)
    machine = Machine(own_folder, serve(gateway))
    with subprocess.Popen(["flock", str(own_folder / "sync.lock"), "cat"], stdin=subprocess.PIPE) as holder:
        held = ["sh", "-c", f"until ! flock -n {own_folder}/sync.lock true; do :; done"]
        subprocess.run(held, check=True, timeout=30)
        skipped = machine.run(cron_lines()[0])
        assert holder.stdin
        holder.stdin.close()
    assert (skipped.returncode, skipped.stdout, skipped.stderr) == (0, "", "")
    assert gateway.requests == []


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_systemd_accepts_the_units(own_folder: Path) -> None:
    command = own_folder / "srv" / ".venv" / "bin" / "vbc"
    command.parent.mkdir(parents=True)
    command.symlink_to(Path(sys.executable).parent / "vbc")
    units = own_folder / "units"
    units.mkdir()
    for unit in (DOCS / "systemd").iterdir():
        (units / unit.name).write_text(unit.read_text().replace(HOME, str(own_folder / "srv")))
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *map(str, sorted(units.iterdir()))],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "SYSTEMD_UNIT_PATH": f"{units}:"},
    )
    ours = [line for line in verified.stderr.splitlines() if "vbc-" in line]
    assert (verified.returncode, ours) == (0, [])


def test_timer_and_service_have_the_same_name() -> None:
    names = {path.name for path in (DOCS / "systemd").iterdir()}
    assert names == {"vbc-sync.service", "vbc-sync.timer", "vbc-alert@.service"}
    service = (DOCS / "systemd" / "vbc-sync.service").read_text()
    commands = re.findall(r"^ExecStart=/srv/vbc/.venv/bin/vbc (.+)$", service, re.MULTILINE)
    assert commands == ["sync", "models run --if-stale"]  # a oneshot service runs them in this order
