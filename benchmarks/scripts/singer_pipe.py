"""Singer as in its documentation: `tap | target-duckdb`, two processes and a pipe.

Nothing is measured inside: both processes import what they need while they run.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from arguments import Arguments, read_arguments

TAP = Path(__file__).with_name("singer_tap.py")


def write_settings(arguments: Arguments) -> tuple[Path, Path]:
    """Write the settings of tap and target to files."""
    tap, target = arguments.folder / "tap.json", arguments.folder / "target.json"
    url, size = arguments.url, arguments.page_size
    tap.write_text(json.dumps({"url": url, "page_size": size, "start_date": arguments.start}))
    target.write_text(json.dumps({"path": str(arguments.database), "default_target_schema": "peer"}))
    return tap, target


def main() -> None:
    """Run both; fail if one fails."""
    arguments = read_arguments()
    tap_settings, target_settings = write_settings(arguments)
    folder = Path(sys.executable).parent
    with (
        subprocess.Popen([sys.executable, TAP, "--config", tap_settings], stdout=subprocess.PIPE) as tap,
        subprocess.Popen(
            [folder / "target-duckdb", "--config", target_settings],
            stdin=tap.stdout,
            stdout=subprocess.DEVNULL,
        ) as target,
    ):
        tap.stdout.close()
        target.wait()
    print("{}", flush=True)
    sys.exit(tap.returncode or target.returncode)


if __name__ == "__main__":
    main()
