"""A served dashboard, and a browser that looks at it."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from loading import environment, vbc

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-extensions", "--disable-default-apps"),
)
SERVED = re.compile(r"http://127\.0\.0\.1:\d+")


@contextmanager
def serve_dashboard(folder: Path, *options: str, **changed: str) -> Iterator[str]:
    """Run `vbc dashboard` on a free port until the block ends; gives its address."""
    command = vbc("dashboard", "--port", "0", *options)
    with subprocess.Popen(
        command,
        cwd=folder,
        env={**environment("", folder), "PYTHONUNBUFFERED": "1", **changed},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        found = next((match for line in process.stdout if (match := SERVED.search(line))), None)
        assert found, process.stderr.read()
        try:
            yield found.group()
        finally:
            process.terminate()
            out, logged = process.communicate(timeout=30)
    assert process.returncode == 0, logged  # ends like Ctrl-C, and that is no failure
    assert logged == "", logged  # whatever was looked at, nothing of it is in a log
    assert not SERVED.search(out)


@contextmanager
def open_browser() -> Iterator[Any]:
    """Start Chromium; without it, the test is left out, and says why."""
    if CHROMIUM is None:
        pytest.skip("there is no chromium on this machine: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()
