"""The wheel works alone, in an empty environment; the sdist holds what pyproject.toml names."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from urllib.request import urlopen

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
EXTRAS = "emulator,dbt,dashboard"
LYING_AROUND = ("hold-list.txt", "docs/lost-sync.log", "tests/lost-hold.txt", "pipelines/.dlt/secrets.toml")
ALWAYS = {"PKG-INFO", "pyproject.toml", ".gitignore"}  # hatchling adds these


def make_environment(folder: Path, *requirements: str) -> Path:
    """Create a virtual environment and return its folder of commands; uv takes a tenth of pip's time."""
    uv = [Path(sys.executable).with_name("uv"), "--quiet"]
    subprocess.run([*uv, "venv", "--python", sys.executable, folder], check=True)
    subprocess.run([*uv, "pip", "install", "--python", folder, *requirements], check=True)
    return folder / "bin"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the sdist, and with the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("built")
    checkout = folder / "checkout"
    shutil.copytree(
        ROOT, checkout, ignore=shutil.ignore_patterns(".venv*", ".git", ".*_cache", "__pycache__")
    )
    for name in LYING_AROUND:
        (checkout / name).parent.mkdir(exist_ok=True)
        (checkout / name).write_text("must not be published")
    build = [sys.executable, "-m", "build", "--installer", "uv"]
    subprocess.run([*build, "--outdir", folder / "dist", checkout], check=True)
    return folder / "dist"


@pytest.fixture
def environ(own_folder: Path) -> dict[str, str]:
    """An environment in which nothing points to the checkout, and what is installed is compiled once."""
    left_out = ("PYTHONPATH", "VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE")
    kept = {name: value for name, value in os.environ.items() if name not in left_out}
    return {**kept, "DLT_DATA_DIR": str(own_folder / "dlt")}


def test_sdist_holds_what_is_tracked_in_the_listed_folders_and_nothing_that_lies_around(built: Path) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout")
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        held = {member.name.split("/", 1)[1] for member in archive.getmembers() if member.isfile()}
    text = (ROOT / "pyproject.toml").read_text()
    listed = re.search(r"targets\.sdist\].*?include = \[(.*?)\]", text, re.DOTALL)
    assert listed
    names = sorted({entry.split("/")[0] for entry in re.findall(r'"/([^"]+)"', listed[1])})
    tracked = subprocess.run(
        ["git", "ls-files", *names], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert held == set(tracked.stdout.split()) | ALWAYS


def test_wheel_alone_runs_demo_models_and_dashboard(
    built: Path, own_folder: Path, environ: dict[str, str]
) -> None:
    (wheel,) = built.glob("*.whl")
    vbc = make_environment(own_folder / "venv", f"{wheel}[{EXTRAS}]") / "vbc"
    for command in (["demo", "--recordings", "500"], ["models", "run"]):
        subprocess.run([vbc, *command], cwd=own_folder, env=environ, check=True)
    with subprocess.Popen(
        [vbc, "dashboard", "--port", "0"], cwd=own_folder, env=environ, stdout=subprocess.PIPE, text=True
    ) as dashboard:
        assert dashboard.stdout
        try:
            address = re.search(r"http://\S+", dashboard.stdout.readline())
            assert address
            with urlopen(address[0], timeout=60) as page:
                assert b"recordings" in page.read()
        finally:
            dashboard.terminate()
