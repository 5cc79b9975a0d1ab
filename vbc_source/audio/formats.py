"""Audio formats, detected from the first bytes of a file. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from vbc_source.errors import InvalidContent


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """A format of audio files, with a pattern for the many content types that servers send for it."""

    extension: str
    content_type: str
    accepted_types: re.Pattern[str]


# such as audio/x-mp3, audio/mpg, audio/x-mpeg-3, audio/mpa, video/mpeg; and audio/x-pn-wav, audio/vnd.wave
_PREFIX = r"(?:audio|video|application)/(?:x-|vnd\.)?"
MP3 = AudioFormat("mp3", "audio/mpeg", re.compile(_PREFIX + r"(?:mp[a3g]|mpga|mpe?g-?[3a]?)"))
WAV = AudioFormat("wav", "audio/wav", re.compile(_PREFIX + r"(?:pn-)?wave?"))
FORMATS = (MP3, WAV)
# Servers send these for files whose type they do not know: they neither prove nor disprove a format.
_GENERIC_TYPES = frozenset(
    {
        "",
        "application/octet-stream",
        "binary/octet-stream",
        "application/force-download",
        "application/x-download",
        "application/download",
        "audio/unknown",
        "audio/*",
        "*/*",
    }
)


def detect_format(head: bytes, content_type: str | None) -> AudioFormat:
    """Detect the format of a file from its first bytes, at least 12; its content type must not contradict it.

    Raises:
        InvalidContent: The file is not MP3 or WAV, or its content type is of another format. The message
            quotes nothing of the body, which may hold personal data.
    """
    # a header that is sent twice arrives as one line with a comma (RFC 9110, section 5.3)
    reported = re.split(r"[;,]", content_type or "")[0].strip(" \"'").lower()
    audio_format = _match_signature(head)
    if audio_format is None:
        suffix = f" (content type {_printable(reported)})" if reported else ""
        raise InvalidContent(f"content is not MP3 or WAV{suffix}")
    if reported not in _GENERIC_TYPES and not audio_format.accepted_types.fullmatch(reported):
        name = audio_format.extension.upper()
        raise InvalidContent(f"content is {name}, but its content type is {_printable(reported)}")
    return audio_format


def _printable(content_type: str) -> str:
    return "".join(char for char in content_type[:60] if char.isalnum() or char in "/.+-*")


def _match_signature(head: bytes) -> AudioFormat | None:
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        return WAV
    # an ID3v2 tag: its version is never 0xFF, and its size has seven bits a byte
    if head[:3] == b"ID3" and len(head) > 9 and head[3] < 0xFF and max(head[6:10]) < 0x80:
        return MP3
    return MP3 if _is_mpeg_frame(head) else None


def _is_mpeg_frame(head: bytes) -> bool:
    """Return whether the bytes start with the header of an MPEG layer III frame.

    Eleven sync bits alone would also match UTF-16 text and AAC: so version, layer, bit rate and sampling
    rate must be valid, too.
    """
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return False
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    bitrate, sampling = head[2] >> 4, head[2] >> 2 & 3
    return version != 1 and layer == 1 and 0 < bitrate < 15 and sampling != 3
