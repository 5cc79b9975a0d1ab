"""A running dashboard, and a browser to look at it."""

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
    """Run `vbc dashboard` on a free port; yields its URL."""
    command = vbc("dashboard", "--port", "0", *options)
    with subprocess.Popen(
        command,
        cwd=folder,
        env={**environment("http://127.0.0.1:9", folder), "PYTHONUNBUFFERED": "1", **changed},
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
            out, logged = process.communicate(timeout=90)
    assert process.returncode == 0, logged  # SIGTERM is a normal end
    assert logged == "", logged  # no request is logged
    assert not SERVED.search(out)


@contextmanager
def open_browser() -> Iterator[Any]:
    """Start Chromium; skips the test if it is not installed."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()


def follow(page: Any, control: Any) -> None:
    """Click a link or a button, and wait for the page that it leads to.

    `click()` may return before the new page is there: what is read then is of the old page, or half a page.
    """
    with page.expect_navigation():
        control.click()
