"""What the page about the format of the archive tells people to run, works on an archive as it is written."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import duckdb
import pytest
from archiving import Prepare, make_gateway

import vbc_source

PAGE = (Path(vbc_source.__file__).parents[1] / "docs" / "archive-format.md").read_text()


@pytest.mark.slow
def test_an_archive_is_checked_and_read_as_the_page_says(
    prepare: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = prepare(make_gateway(3))
    site.load()
    assert site.archive().stored == 3
    found = re.search(r"^find .*?(?=    #|$)", PAGE, re.MULTILINE)
    query = re.search(r"```sql\n(.*?)```", PAGE, re.DOTALL)
    assert found
    assert query

    def check() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", "-c", found[0]], cwd=site.bucket, capture_output=True, text=True, check=False
        )

    assert (check().stdout, check().stderr) == ("", "")
    monkeypatch.chdir(site.bucket)
    with duckdb.connect() as connection:
        rows = connection.execute(query[1]).fetchall()
    assert sorted(row[3] for row in rows) == ["1000.mp3", "1001.mp3", "1002.mp3"]
    next(Path(site.bucket).rglob("1001.mp3")).write_bytes(b"other")
    assert "1001.mp3: FAILED" in check().stdout
