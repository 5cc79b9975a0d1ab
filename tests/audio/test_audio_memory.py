"""Memory use with large files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from archiving import Prepare, S3Bucket, configure, free_disk, make_gateway
from loading import environment

from vbc_source.emulator import Gateway

FILES = 8
# ru_maxrss would count the process that starts this one; VmHWM does not
MEASURED = """
import json, re, sys
from vbc_source.audio.archive_audio import archive_audio
outcome = archive_audio(bucket_url=sys.argv[1])
peak = re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())
print(json.dumps([outcome.stored, outcome.bytes, int(peak[1]) // 1024]))
"""


@pytest.mark.slow
# the emulated S3 takes most of the time: half of the bytes are enough to exceed the limit twice
@pytest.mark.parametrize(("where", "bytes_each"), [("folder", 200_000_000), ("s3", 100_000_000)])
def test_eight_concurrent_large_files_take_less_than_400_mb(
    prepare: Prepare, s3: S3Bucket, own_folder: Path, where: str, bytes_each: int
) -> None:
    if not Path("/proc/self/status").exists():
        pytest.skip("needs /proc for the peak")
    if free_disk(own_folder) < 3 * FILES * bytes_each:
        pytest.skip("needs 5 GB of disk")
    gateway: Gateway = make_gateway(FILES, size=bytes_each)
    site = prepare(gateway, bucket=s3.url if where == "s3" else None)
    site.load(shared=True)
    # the emulated S3 shares this process and its time with the gateway
    patience = {"DESTINATION__FILESYSTEM__CONFIG_KWARGS": '{"read_timeout": 300}'}
    settings = {**s3.settings(), **patience, **configure(site.url)}
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, site.bucket],
        cwd=own_folder,
        env=environment(site.url, own_folder, **settings),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    stored, size, peak = json.loads(done.stdout.splitlines()[-1])
    assert (stored, size) == (FILES, sum(r["file_size_in_bytes"] for r in gateway.company.all()))
    print(f"peak memory: {peak} MB")
    assert peak < 400
