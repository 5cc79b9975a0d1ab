"""A recording's audio file, before any of it is made."""

from __future__ import annotations

from dataclasses import dataclass

from vbc_source.emulator.audio import Audio, make_audio
from vbc_source.emulator.recordings import Recordings
from vbc_source.emulator.rows import Row


@dataclass(frozen=True, slots=True)
class File:
    """A recording's audio file.

    Attributes:
        name: Of the file.
        size: Bytes.
        title: In the audio.
    """

    name: str
    size: int
    title: str

    def make_audio(self) -> Audio:
        """Plan the file's bytes."""
        return make_audio(self.size, self.title)


def plan_file(row: Row, store: Recordings) -> File:
    """Tell which file belongs to a recording."""
    fields = row.decode()
    name, size = fields.get("file_name"), fields.get("file_size_in_bytes")
    return File(
        name if isinstance(name, str) and name else f"{row.key}.mp3",
        size if isinstance(size, int) else 0,
        store.title(row.key),
    )
