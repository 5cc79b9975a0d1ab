"""Take the screenshots of the dashboard: `python docs/screenshots.py`, with all extras and Debian's chromium.

Loads the demo's invented call centre into a temporary folder.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image  # installed with matplotlib
from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "dashboard"))
from dashboards import CHROMIUM, FLAGS, serve_dashboard
from loading import vbc

IMAGES = Path(__file__).parent / "images"
PLAYABLE = "/recordings?days=all&archived=yes"
SHOTS = {  # width, height, scheme, address; a recording is opened from the list of those that can be played
    "dashboard": (1280, 1440, "light", "/?days=91"),
    "dashboard-dark": (1280, 860, "dark", "/?days=all"),
    "dashboard-narrow": (390, 1250, "light", "/?days=91"),
    "dashboard-narrow-dark": (390, 1250, "dark", "/recordings"),
    "recording": (1280, 900, "light", PLAYABLE),
    "recording-narrow": (390, 1250, "dark", PLAYABLE),
}
PAPER = (718, 1040)  # A4 at 96 dots an inch, within its margins


def main() -> None:
    """Load, serve, take the screenshots."""
    zone = {"SOURCES__VBC__VBC_TIMEZONE": "Europe/London"}
    with TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        changed = {**os.environ, **zone, "DLT_DATA_DIR": str(folder / "dlt")}
        for command in (("demo",), ("report", "--out", "report.html")):
            subprocess.run(vbc(*command), cwd=folder, env=changed, check=True, stdout=subprocess.DEVNULL)
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        with serve_dashboard(folder, **zone) as url:
            for shot, (width, height, scheme, address) in SHOTS.items():
                page = browser.new_page(
                    viewport={"width": width, "height": height}, color_scheme=scheme, locale="en-GB"
                )
                page.goto(url + address)
                if address == PLAYABLE:
                    page.locator("tbody a").first.click()
                    page.locator("audio").wait_for()
                take(page, shot)
        page = browser.new_page(viewport={"width": PAPER[0], "height": PAPER[1]})
        page.emulate_media(media="print")
        page.goto((folder / "report.html").as_uri())
        take(page, "report-print")
        browser.close()


def take(page: Any, shot: str) -> None:
    """Store a screenshot with few colours."""
    page.screenshot(path=IMAGES / f"{shot}.png")
    page.close()
    with Image.open(IMAGES / f"{shot}.png") as image:
        small = image.convert("RGB").quantize(64)
    small.save(IMAGES / f"{shot}.png", optimize=True)


if __name__ == "__main__":
    main()
