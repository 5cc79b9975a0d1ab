"""Fetch files as the vendor's tutorial does: one after the other, whole in memory, without checks."""

from __future__ import annotations

import sys
from pathlib import Path

import requests

for line in Path(sys.argv[1]).read_text().splitlines():
    link, path = line.split(" ", 1)
    answer = requests.get(link, headers={"Authorization": "Bearer bench"}, timeout=60)
    answer.raise_for_status()
    Path(path).write_bytes(answer.content)
