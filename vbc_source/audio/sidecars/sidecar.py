"""Sidecars: a JSON file beside each audio file that says what it is and how that is known. Pure.

The format is described in docs/archive-format.md. The same facts give the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import msgspec

from vbc_source.audio.formats import FORMATS
from vbc_source.recordings import RecordingType

FORMAT_VERSION = 1
SIDECAR_EXTENSION = "json"
LARGEST_SIDECAR = 1 << 20  # bytes; most have about one thousand
_AUDIO = tuple(f".{audio_format.extension}" for audio_format in FORMATS)


@dataclass(frozen=True, slots=True)
class AudioFacts:
    """The audio file: name in its folder, SHA-256, size in bytes, and its measured length in milliseconds."""

    file: str
    sha256: str
    size_bytes: int
    content_type: str | None = None
    duration: int | None = None


@dataclass(frozen=True, slots=True)
class ArchiveFacts:
    """The row of the ledger: which recording it is, what was known of it, when and how it was archived.

    `attempts` is 0 for a file that was found in the bucket, and not compared with VBC's bytes.
    """

    account_id: str
    recording_type: RecordingType
    user_id: str
    recording_id: int
    version: int
    attempts: int
    fetched_at: datetime
    call_id: str | None = None
    call_start: datetime | None = None


@dataclass(frozen=True, slots=True)
class Proof:
    """The window of `scan_windows` that proves that the list was complete with this recording.

    Attributes:
        resource: The list's table.
        window_start: First second of the window.
        window_end: Last second of the window.
        total_items: Recordings in it, as the API counts them.
        scanned_at: When it was read.
        load_id: The load that brought it.
        filters: Label of the filters it was read with; None without filters.
    """

    resource: str
    window_start: datetime
    window_end: datetime
    total_items: int
    scanned_at: datetime
    load_id: str
    filters: str | None = None


@dataclass(frozen=True, slots=True)
class Sidecar:
    """What a sidecar says.

    Attributes:
        audio: The audio file beside it.
        archive: What the ledger says.
        recording: The recording's row with the API's names of fields, its lists included, as it was loaded
            when the sidecar was written; None where the row was not there any more, or had changed.
        proof: What proves that its list was complete; None where nothing does.
    """

    audio: AudioFacts
    archive: ArchiveFacts
    recording: Mapping[str, Any] | None = None
    proof: Proof | None = None
    format: Literal["vbc-source sidecar"] = "vbc-source sidecar"
    format_version: int = FORMAT_VERSION


def sidecar_key(audio_key: str) -> str:
    """Return the key of an audio file's sidecar, or its name of the file's name."""
    # the last dot: `1000.v2.mp3` has `1000.v2.json`
    return f"{audio_key.rpartition('.')[0]}.{SIDECAR_EXTENSION}"


def is_audio(name: str) -> bool:
    """Return whether an object in a folder of the archive is the file of a recording.

    Others are sidecars, the manifest, and damaged files that a repair has kept.
    """
    return name.endswith(_AUDIO)


def write_sidecar(sidecar: Sidecar) -> bytes:
    """Write a sidecar: UTF-8, keys sorted, instants in UTC, a newline at the end."""
    return msgspec.json.format(msgspec.json.encode(sidecar, order="sorted"), indent=2) + b"\n"


def parse_sidecar(body: bytes) -> Sidecar:
    """Parse a sidecar.

    Raises:
        ValueError: It is not one; the message quotes no value of it.
    """
    try:
        sidecar = _DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        reason = str(error) if isinstance(error, msgspec.ValidationError) else "malformed JSON"
        raise ValueError(f"not a sidecar: {reason}") from None
    # new fields need no new version: with one, the known fields may mean something else
    if sidecar.format_version > FORMAT_VERSION:
        raise ValueError(f"format_version {sidecar.format_version} is newer than this version of vbc knows")
    return sidecar


_DECODER = msgspec.json.Decoder(Sidecar)
