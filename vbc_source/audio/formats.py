"""Tells an audio file from everything else that may come in its place. Pure: bytes in, a verdict out."""

from __future__ import annotations

from dataclasses import dataclass

from vbc_source.errors import InvalidContent


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """A kind of audio file.

    Attributes:
        extension: of its file.
        content_type: as it is stored.
        names: what servers call it.
    """

    extension: str
    content_type: str
    names: frozenset[str]


MP3 = AudioFormat("mp3", "audio/mpeg", frozenset({"audio/mpeg", "audio/mp3", "audio/mpeg3", "audio/x-mpeg"}))
WAV = AudioFormat("wav", "audio/wav", frozenset({"audio/wav", "audio/x-wav", "audio/wave", "audio/vnd.wave"}))
FORMATS = (MP3, WAV)
# what servers call a file whose kind they do not know
_ANY = frozenset({"", "application/octet-stream", "binary/octet-stream", "application/force-download"})
_UNKNOWN = frozenset({"application/x-download", "application/download", "audio/unknown", "audio/*"})


def detect_format(head: bytes, content_type: str | None) -> AudioFormat:
    """Say which kind of audio a file is, by its first bytes; its content type must not say another.

    Args:
        head: at least the first 12 bytes of the file, if it has that many.
        content_type: what came with it, or None.

    Raises:
        NotStored: it is none, or the two disagree; the text holds nothing of the body.
    """
    sound = _by_magic(head)
    told = (content_type or "").split(";")[0].strip().lower()
    if sound is None:
        raise InvalidContent(f"what came is neither MP3 nor WAV{f', but {_plain(told)}' if told else ''}")
    if told not in sound.names | _ANY | _UNKNOWN:
        raise InvalidContent(f"what came is {sound.extension.upper()} but calls itself {_plain(told)}")
    return sound


def _plain(told: str) -> str:
    return "".join(char for char in told[:60] if char.isalnum() or char in "/.+-*")


def _by_magic(head: bytes) -> AudioFormat | None:
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        return WAV
    if head[:3] == b"ID3" and len(head) > 9 and head[3] < 0xFF and max(head[6:10]) < 0x80:
        return MP3
    return MP3 if _is_frame(head) else None


def _is_frame(head: bytes) -> bool:
    """Whether an MPEG layer III frame begins here: sync, layer, a bit rate and a sampling rate."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return False
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    bitrate, sampling = head[2] >> 4, head[2] >> 2 & 3
    return version != 1 and layer == 1 and 0 < bitrate < 15 and sampling != 3
