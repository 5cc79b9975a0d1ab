"""The scenario of `vbc fixity`, for `benchmarks.operations`: against `sha256sum` over the same files."""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.measure import run
from benchmarks.operations import Figure, scenario, work_in_folder

SMALL, SMALL_BYTES = 1_000, 600_000
LARGE, LARGE_BYTES = 4, 250_000_000
REPETITIONS = 3
MOST = 1.3  # times as long as sha256sum
TIMEOUT = 300.0
START = datetime(2025, 3, 1, 10, tzinfo=timezone.utc)


@scenario("fixity")
def measure_fixity(_: argparse.Namespace) -> Iterator[Figure]:
    """`vbc fixity` and `sha256sum` over the same files: a thousand small ones and four large ones."""
    with work_in_folder() as folder:
        sizes = [SMALL_BYTES] * SMALL + [LARGE_BYTES] * LARGE
        _fill(folder, sizes)
        vbc = [sys.executable, "-c", "from vbc_source.cli import main; main()"]
        commands = {
            "vbc fixity": [*vbc, "fixity", "--bucket-url", str(folder / "files")],
            "sha256sum": ["sh", "-c", "find files -type f -print0 | xargs -0 sha256sum > sums"],
        }
        if shutil.which("openssl"):
            openssl = "find files -type f -print0 | xargs -0 openssl dgst -sha256 > sums"
            commands["openssl dgst"] = ["sh", "-c", openssl]
        runs = {name: [run(command, os.environ, folder, TIMEOUT)] for name, command in commands.items()}
        for _ in range(REPETITIONS):
            for name, command in commands.items():
                runs[name].append(run(command, os.environ, folder, TIMEOUT))
        for name, measured in runs.items():
            if measured[0].status:
                raise SystemExit(f"{name}: {measured[0].errors}")
            warm = measured[1:]
            yield Figure("fixity", f"{name}, whole", median(each.seconds for each in warm), "s")
            yield Figure("fixity", f"{name}, CPU", median(each.cpu_seconds for each in warm), "s")
        pairs = zip(runs["vbc fixity"][1:], runs["sha256sum"][1:], strict=True)
        ratio = median(ours.seconds / theirs.seconds for ours, theirs in pairs)
        yield Figure("fixity", "vbc fixity / sha256sum", ratio, "times", MOST)


def _fill(folder: Path, sizes: list[int]) -> None:
    """Make files of chance, and the ledger that an archive of them would have."""
    import pyarrow as pa

    from vbc_source import Target
    from vbc_source.audio.ledger import COLUMNS, LEDGER, VERSION_KEY
    from vbc_source.load.ledgers import load_rows, make_schema
    from vbc_source.load.pipelines import hold_pipeline

    chance, rows = os.urandom(max(sizes) + len(sizes)), []
    for number, size in enumerate(sizes):
        start = START + timedelta(days=number % 28)
        day = f"account_id=549825/recording_type=company/date={start:%Y-%m-%d}"
        path = folder / "files" / day / f"{1000 + number}.mp3"
        path.parent.mkdir(parents=True, exist_ok=True)
        content = memoryview(chance)[number : number + size]
        path.write_bytes(content)
        row: dict[str, Any] = {
            "account_id": "549825",
            "recording_type": "company",
            "user_id": "",
            "recording_id": 1000 + number,
            "uri": f"{(folder / 'files').as_uri()}/{day}/{path.name}",
            "status": "stored",
            "size_bytes": size,
            "sha256": hashlib.sha256(content).hexdigest(),
            "attempts": 1,
            "fetched_at": START + timedelta(days=30),
            "version": 1,
            "call_start": start,
        }
        rows.append({**dict.fromkeys(COLUMNS), **row})
    with hold_pipeline(Target().ledgers("audio")) as pipeline:
        table = pa.Table.from_pylist(rows, make_schema(COLUMNS, VERSION_KEY))
        load_rows(pipeline, LEDGER, table, "merge", VERSION_KEY)
