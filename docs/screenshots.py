"""Take the screenshots of the dashboard: `python docs/screenshots.py`, with all extras and Debian's chromium.

Loads the demo's invented call centre into a temporary folder.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image  # installed with matplotlib
from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "dashboard"))
from dashboards import CHROMIUM, FLAGS, serve_dashboard
from loading import vbc

IMAGES = Path(__file__).parent / "images"
SHOTS = {  # width, height, scheme, address
    "dashboard": (1280, 1440, "light", "/?days=90"),
    "dashboard-dark": (1280, 860, "dark", "/?days=all"),
    "dashboard-narrow": (390, 1250, "light", "/?days=90"),
}


def main() -> None:
    """Load, serve, take the screenshots."""
    zone = {"SOURCES__VBC__VBC_TIMEZONE": "Europe/London"}
    with TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        changed = {**os.environ, **zone, "DLT_DATA_DIR": str(folder / "dlt")}
        subprocess.run(vbc("demo"), cwd=folder, env=changed, check=True, stdout=subprocess.DEVNULL)
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        with serve_dashboard(folder, **zone) as url:
            for shot, (width, height, scheme, address) in SHOTS.items():
                page = browser.new_page(
                    viewport={"width": width, "height": height}, color_scheme=scheme, locale="en-GB"
                )
                page.goto(url + address)
                page.screenshot(path=IMAGES / f"{shot}.png")
                page.close()
                with Image.open(IMAGES / f"{shot}.png") as image:
                    small = image.convert("RGB").quantize(64)
                small.save(IMAGES / f"{shot}.png", optimize=True)
        browser.close()


if __name__ == "__main__":
    main()
