"""Files of Iceberg tables in a folder: each gets its name when it is whole.

The metadata that counts is the file with the last name. Half of one, after a kill or with a full disk, would
leave a table that no later run can open.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any
from uuid import uuid4

from pyiceberg.io.pyarrow import PyArrowFile, PyArrowFileIO

from vbc_source.durable_files import replace_file


class WholeFileIO(PyArrowFileIO):
    """pyiceberg's access to files, which writes a draft beside each new one; a bucket does so by itself."""

    def new_output(self, location: str) -> PyArrowFile:
        """Return what creates the file at a location."""
        output = super().new_output(location)
        scheme, _, path = self.parse_location(location, self.properties)
        return output if scheme != "file" else _WholeFile(location, path, output._filesystem)


class _WholeFile(PyArrowFile):
    def create(self, overwrite: bool = False) -> Any:
        """Return a stream whose bytes appear under the name when it is closed."""
        if not overwrite and self.exists():
            raise FileExistsError(f"Cannot create file, already exists: {self.location}")
        return _Draft(Path(self._path))


class _Draft(io.BufferedWriter):
    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._is_whole = path, True
        # not `.json`: dlt would take it for metadata
        self._draft = path.with_name(f"{path.name}.{uuid4().hex}.draft")
        super().__init__(io.FileIO(self._draft, "wb"))

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        # BufferedWriter closes here whatever happened, which would give half a file its name
        self._is_whole = kind is None
        self.close()

    def close(self) -> None:
        """Give the file its name, unless writing it has failed."""
        if self.closed:
            return
        try:
            super().close()
            if self._is_whole:
                replace_file(self._draft, self._path)
        finally:
            self._draft.unlink(missing_ok=True)
