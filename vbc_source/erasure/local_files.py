"""Files on this machine that may hold what was erased: all in dlt's data folder, ours and dlt's own."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import dlt
import pyarrow as pa
import pyarrow.parquet as pq

from vbc_source.dlt_internals import get_dlt_pipelines_dir
from vbc_source.durable_files import fsync
from vbc_source.erasure.subject import Subject
from vbc_source.load.destinations import normalize_dataset

TRACE = "trace.pickle"
_RUNS = "vbc_runs"
_GZIP, _PARQUET = b"\x1f\x8b", b"PAR1"  # the first bytes of such files


class LocalCopies:
    """The files below dlt's data folder that hold the number or its hash.

    All are searched, except those of pipelines of other datasets, which belong to other people.
    """

    def __init__(self, dataset: str, subject: Subject) -> None:
        self._dataset, self._subject = normalize_dataset(dataset), subject

    def find(self) -> list[Path]:
        """Return the files that hold it, opened where they are compressed."""
        return [path for path in self._list() if self._holds(path)]

    def erase(self) -> tuple[int, list[str]]:
        """Remove files of completed loads, traces and histories that hold it.

        Returns:
            How many were removed, and what is left, in words: state and schemas are not removed.
        """
        removed, left = 0, []
        for path in self.find():
            if self._is_removable(path):
                path.unlink(missing_ok=True)
                fsync(path.parent)
                removed += 1
            else:
                name = path.relative_to(_find_data())
                left.append(
                    f"a file in dlt's data folder holds it, or cannot be opened: {name}; delete it once "
                    "vbc sync and vbc audio have nothing left to load"
                )
        return removed, left

    def _is_removable(self, path: Path) -> bool:
        parts = path.parts
        # completed packages, traces and histories: nothing is loaded from them again
        return path.name == TRACE or "loaded" in parts or _RUNS in parts

    def _list(self) -> Iterator[Path]:
        pipelines = Path(get_dlt_pipelines_dir())
        for place in (*self._list_pipelines(), *sorted(_find_data().glob("*"))):
            # of all pipelines' folders, only those of this dataset are searched
            if place != pipelines:
                yield from (path for path in (place, *sorted(place.rglob("*"))) if path.is_file())

    def _list_pipelines(self) -> Iterator[Path]:
        """Yield the working folders of the pipelines that load this dataset."""
        for folder in sorted(Path(get_dlt_pipelines_dir()).glob("*/")):
            with suppress(OSError, ValueError):
                state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
                if normalize_dataset(str(state.get("dataset_name"))) == self._dataset:
                    yield folder

    def _holds(self, path: Path) -> bool:
        try:
            data = path.read_bytes()
        except OSError:  # removed meanwhile
            return False
        if self._subject.is_in_bytes(data):
            return True
        try:
            return any(map(self._subject.is_in_bytes, _open(data)))
        except Exception:  # of any decoder: what half of a file or a locked one holds is not known
            return True


def _open(data: bytes) -> Iterator[bytes]:
    """Yield the content of a file that is compressed."""
    if data.startswith(_GZIP):
        yield gzip.decompress(data)
    if data.startswith(_PARQUET):
        table = pq.read_table(pa.BufferReader(data))
        for column in table.columns:  # not as `repr`, which escapes spaces that are not ASCII
            yield json.dumps(column.to_pylist(), ensure_ascii=False, default=str).encode()
    if zipfile.is_zipfile(io.BytesIO(data)):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            yield from (archive.read(name) for name in archive.namelist())


def _find_data() -> Path:
    return Path(dlt.current.run_context().data_dir)
