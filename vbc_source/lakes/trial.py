"""Try whether a folder of files can be written, and leave nothing there."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

PREFIX = ".vbc_doctor_"


def try_writing(fs: Any, folder: str) -> None:
    """Write an object below a folder and remove it; where a local folder is missing, in the one above.

    Args:
        fs: The file system, of fsspec.
        folder: The folder as `fs` names it.

    Raises:
        Exception: What the file system raises; its backends share no class of errors.
    """
    # fsspec's file systems name one protocol or several
    if "file" in ([fs.protocol] if isinstance(fs.protocol, str) else fs.protocol):
        place = Path(folder)
        while not place.exists():
            place = place.parent
        with TemporaryDirectory(prefix=PREFIX, dir=place) as made:
            (Path(made) / "object").write_bytes(b"vbc doctor")
        return
    place_of_object = f"{folder.rstrip('/')}/{PREFIX}{uuid4().hex}"
    try:
        fs.pipe_file(place_of_object, b"vbc doctor")
        fs.rm_file(place_of_object)
    except BaseException:
        # also Ctrl-C between the two requests leaves no object
        with suppress(Exception):  # the first error is the one to report
            fs.rm_file(place_of_object)
        raise
