"""Plans and their application that are killed at any moment: the same plan continues, and ends."""

from __future__ import annotations

import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest
from archiving import Prepare, configure, make_gateway
from kills import choose_moments, count_kills
from loading import environment, query, run_vbc, vbc
from plans import ERASE

KILLS = count_kills(3)  # of plans, and of their application
HELD = (1003, 1030)


@pytest.mark.slow
def test_a_killed_plan_leaves_none_and_a_killed_application_continues(
    prepare: Prepare, own_folder: Path
) -> None:
    count = 60
    gateway = make_gateway(count)
    site = prepare(gateway)
    pipeline = site.load(shared=True)
    site.archive()
    settings = {**configure(site.url), "SOURCES__VBC__AUDIO__BUCKET_URL": site.bucket}
    Path("hold.txt").write_text("\n".join(map(str, HELD)))
    Path("retention.toml").write_text(f'hold = "hold.txt"\n{ERASE}')
    random = choose_moments(7)

    def kill(patience: float, *arguments: str) -> int:
        with subprocess.Popen(
            vbc("retention", *arguments),
            cwd=own_folder,
            env=environment(site.url, own_folder, **settings),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        ) as process:
            with suppress(subprocess.TimeoutExpired):
                process.wait(patience)
            process.kill()
            _, errors = process.communicate()
        assert process.returncode in (0, -9), errors
        print(arguments[0], "killed" if process.returncode else "had ended")
        return process.returncode

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return run_vbc(own_folder, site.url, "retention", *arguments, **settings)

    started = time.monotonic()
    assert run("--older-than", "20000").returncode == 0  # how long a command takes that finds nothing to do
    whole = time.monotonic() - started
    planned = 0
    for _ in range(KILLS):
        planned += kill(whole * (0.2 + 1.2 * random.random()), "plan", "--out", "plan.json") == 0
        assert Path("plan.json").exists() == bool(planned)
    assert run("plan", "--out", "plan.json").returncode == 0
    assert query(pipeline, "SELECT recording_id FROM recording_holds ORDER BY 1") == [(one,) for one in HELD]
    for _ in range(KILLS):
        kill(whole * (0.2 + 2.5 * random.random()), "apply", "--plan", "plan.json")
    done = run("apply", "--plan", "plan.json")
    assert done.returncode == 0, done.stderr
    assert sorted(row["id"] for row in gateway.company.all()) == list(HELD)
    assert len(site.files()) == len(HELD)
    states = "SELECT status, count(*) FROM recording_audio GROUP BY 1 ORDER BY 1"
    assert query(pipeline, states) == [("erased", count - len(HELD)), ("stored", len(HELD))]
    asked = {request.path.rsplit("/", 1)[1] for request in gateway.requests if request.method == "DELETE"}
    rows = query(pipeline, "SELECT DISTINCT recording_id FROM recording_deletions WHERE status = 'requested'")
    assert asked <= {str(number) for (number,) in rows}
    again = run("apply", "--plan", "plan.json")
    assert f"{2 * (count - len(HELD))} actions done before" in again.stdout.replace(",", "")
