"""The examples for cron and systemd are run, or checked by systemd itself."""

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

DOCS = Path(__file__).parents[1] / "docs"
HOME = "/srv/vbc"


def cron_lines() -> list[str]:
    """The commands, in the order of the file."""
    lines = (DOCS / "crontab.example").read_text().splitlines()
    found = [re.fullmatch(r"(?:\S+ ){5}(.+)", line) for line in lines if re.match(r"[*\d]", line)]
    return [line[1] for line in found if line]


class Machine:
    """A folder as the examples want it, and cron's way to run a line: by sh, in an empty environment."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        login = "".join(f'{name} = "{value}"\n' for name, value in LOGIN.items())
        (folder / ".dlt").mkdir()
        (folder / ".dlt" / "config.toml").write_text(
            f'[sources.vbc]\nbase_url = "{url}"\nretry_seconds = 0.2\n'
        )
        (folder / ".dlt" / "secrets.toml").write_text(f"[sources.vbc.credentials]\n{login}")
        (folder / "metrics").mkdir()
        (folder / ".venv" / "bin").mkdir(parents=True)
        (folder / ".venv" / "bin" / "vbc").symlink_to(Path(sys.executable).parent / "vbc")

    def run(self, line: str) -> subprocess.CompletedProcess[str]:
        assert "%" not in line  # which means a new line to cron
        empty = {
            "HOME": str(self.folder / "home"),
            "PATH": "/usr/bin:/bin",
            "SHELL": "/bin/sh",
            "LOGNAME": "vbc",
            "DLT_DATA_DIR": str(self.folder / "dlt"),  # else that of whoever runs the tests
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
def test_a_line_for_cron_loads_says_nothing_and_writes_a_log(serve: Serve, own_folder: Path) -> None:
    often, _, _, metrics = cron_lines()
    machine = Machine(own_folder, serve(still_gateway(recordings=20, users=2, user_recordings=4)))
    ran = machine.run(often)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    assert machine.log().count("recordings read and proven complete") == 1
    assert read_database(own_folder, "SELECT count(*) FROM vbc.vbc.company_recordings") == [(20,)]
    assert machine.run(metrics).returncode == 0
    assert [path.name for path in (own_folder / "metrics").iterdir()] == ["vbc.prom"]
    text = (own_folder / "metrics" / "vbc.prom").read_text()
    assert {"vbc_ok", "vbc_list_lag_seconds"} <= {told.name for told in text_string_to_metric_families(text)}


@needs_flock
@pytest.mark.slow
def test_the_line_for_the_night_loads_everything_and_the_watch_is_content(
    serve: Serve, own_folder: Path
) -> None:
    often, nightly, watch, _ = cron_lines()
    gateway = still_gateway(recordings=20, users=2, user_recordings=4)
    machine = Machine(own_folder, serve(gateway))
    for line in (often, nightly, watch):
        ran = machine.run(line)
        assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    assert machine.log().count("recordings read and proven complete") == 2
    assert read_database(own_folder, "SELECT count(*) FROM vbc.vbc.users") == [(len(gateway.users),)]


@pytest.mark.slow
@needs_flock
def test_a_line_for_cron_that_fails_says_why_so_that_cron_mails_it(serve: Serve, own_folder: Path) -> None:
    often, _, watch, metrics = cron_lines()
    machine = Machine(own_folder, serve(still_gateway(recordings=5, faults=("down",))))
    failed = machine.run(often)
    assert failed.returncode == 1
    assert failed.stdout.splitlines()[-1].startswith("vbc sync: ")
    assert "the VBC gateway did not answer properly (HTTP 503" in failed.stdout.splitlines()[-1]
    missed = machine.run(watch)
    assert (missed.returncode, missed.stdout) == (1, "")
    assert missed.stderr == "vbc status: nothing was ever loaded there: run vbc sync\n"
    assert machine.run(metrics).returncode == 0
    assert "vbc_ok{" in (own_folder / "metrics" / "vbc.prom").read_text()


@needs_flock
def test_a_line_for_cron_does_nothing_while_another_runs(serve: Serve, own_folder: Path) -> None:
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
def test_systemd_finds_nothing_wrong_with_the_units(own_folder: Path) -> None:
    command = own_folder / "srv" / ".venv" / "bin" / "vbc"
    command.parent.mkdir(parents=True)
    command.symlink_to(Path(sys.executable).parent / "vbc")
    units = own_folder / "units"
    units.mkdir()
    for unit in (DOCS / "systemd").iterdir():
        (units / unit.name).write_text(unit.read_text().replace(HOME, str(own_folder / "srv")))
    found = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *map(str, sorted(units.iterdir()))],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "SYSTEMD_UNIT_PATH": f"{units}:"},
    )
    ours = [line for line in found.stderr.splitlines() if "vbc-" in line]
    assert (found.returncode, ours) == (0, [])


def test_the_timer_starts_the_service_of_its_name() -> None:
    names = {path.name for path in (DOCS / "systemd").iterdir()}
    assert names == {"vbc-sync.service", "vbc-sync.timer", "vbc-alert@.service"}
    assert "ExecStart=/srv/vbc/.venv/bin/vbc sync\n" in (DOCS / "systemd" / "vbc-sync.service").read_text()
