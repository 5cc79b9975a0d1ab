"""One recording, stored as the JSON that is sent."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from vbc_source.emulator.data.dates import parse_timestamp

DEFAULT_PREFIX = "/t/vbc.prod/call_recording/api"

# Built once: json.dumps with separators builds an encoder for each of half a million recordings.
_encode = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class RecordingLinks:
    """Builds the links of the recordings in one store.

    Attributes:
        base_url: Scheme, host and port.
        list_path: Path of the list, without the prefix of the API.
        audio_path: Path of the audio files, without the prefix of the API.
        owner: Named in the title of the audio; empty for the company of the main account.
    """

    base_url: str
    list_path: str
    audio_path: str
    owner: str = ""

    @property
    def root(self) -> str:
        """Start of every link."""
        return self.base_url + DEFAULT_PREFIX

    def encode(self, key: str) -> dict[str, str]:
        """Build the two links of a recording, each encoded as JSON."""
        root = self.root
        return {
            "_links": f'{{"self":{{"href":"{root}{self.list_path}/{key}"}}}}',
            "download_url": f'"{root}{self.audio_path}/{key}"',
        }


@dataclass(frozen=True, slots=True)
class StoredRecording:
    """A recording in a store.

    Attributes:
        key: Its id as text.
        start: Sort key: milliseconds since 1970; 0 without a valid start.
        visible_at: Epoch seconds from which it is listed.
        body: The recording as JSON; generated links are its first fields.
        generated_links: Number of generated links; other links were passed to the store.
    """

    key: str
    start: int
    visible_at: float
    body: bytes
    generated_links: int

    def decode(self) -> dict[str, Any]:
        """Decode the recording."""
        fields: dict[str, Any] = json.loads(self.body)
        return fields

    def decode_without_links(self) -> dict[str, Any]:
        """Decode the recording without its generated links."""
        return dict(list(self.decode().items())[self.generated_links :])

    def relink(self, old: RecordingLinks, new: RecordingLinks) -> StoredRecording:
        """Copy the recording with its generated links pointing to another root."""
        # no more often than there are generated links: a later field may hold the same address
        body = self.body.replace(old.root.encode(), new.root.encode(), self.generated_links)
        return StoredRecording(self.key, self.start, self.visible_at, body, self.generated_links)


def encode_recording(
    fields: dict[str, Any], links: RecordingLinks, visible_at: float, start: int | None = None
) -> StoredRecording:
    """Encode a recording for a store.

    Args:
        fields: The recording; its links are generated unless they are among the fields.
        links: Builds the links.
        visible_at: Epoch seconds from which it is listed.
        start: Milliseconds since 1970, if already parsed.
    """
    key = str(fields["id"])
    generated = [f'"{name}":{link}' for name, link in links.encode(key).items() if name not in fields]
    if start is None:
        start = parse_timestamp(fields.get("start")) or 0
    # Links come first, so that relink can replace them and leave texts in other fields unchanged.
    body = "{" + ",".join([*generated, _encode(fields)[1:]])
    return StoredRecording(key, start, visible_at, body.encode(), len(generated))
