"""One recording, kept as the JSON that is sent."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from vbc_source.emulator.times import parse_moment

DEFAULT_PREFIX = "/t/vbc.prod/call_recording/api"

# Made once: json.dumps would make it anew for each of half a million rows.
_encode = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Site:
    """Where a store's recordings are found.

    Attributes:
        base_url: Scheme, host and port.
        rows: Path of the list, behind the prefix.
        audio: Path of the audio, behind the prefix.
        owner: Said in the audio's title; nothing for the main account's company.
    """

    base_url: str
    rows: str
    audio: str
    owner: str = ""

    @property
    def root(self) -> str:
        """What every link of a stored recording begins with."""
        return self.base_url + DEFAULT_PREFIX

    def link(self, key: str) -> dict[str, str]:
        """Make the two links of a recording, each encoded as JSON."""
        root = self.base_url + DEFAULT_PREFIX
        return {
            "_links": f'{{"self":{{"href":"{root}{self.rows}/{key}"}}}}',
            "download_url": f'"{root}{self.audio}/{key}"',
        }

    def title(self, key: str) -> str:
        """Name the audio of a recording."""
        return f"Recording {key} of {self.owner}" if self.owner else f"Recording {key}"


@dataclass(frozen=True, slots=True)
class Row:
    """A recording in the store.

    Attributes:
        key: Its id as text.
        start: Milliseconds since 1970, by which rows are sorted; 0 when there is no readable start.
        appears: Epoch seconds from which on it is listed.
        body: The recording as JSON; links made by the emulator come first in it.
        links: How many of those links there are; the others were given by whoever added it.
    """

    key: str
    start: int
    appears: float
    body: bytes
    links: int

    def decode(self) -> dict[str, Any]:
        """Read the recording back."""
        fields: dict[str, Any] = json.loads(self.body)
        return fields

    def decode_given(self) -> dict[str, Any]:
        """Read the recording back without the links made by the emulator."""
        return dict(list(self.decode().items())[self.links :])

    def move(self, old: Site, new: Site) -> Row:
        """Point its links to another place."""
        body = self.body.replace(old.root.encode(), new.root.encode(), self.links)
        return Row(self.key, self.start, self.appears, body, self.links)


def make_row(fields: dict[str, Any], site: Site, appears: float, start: int | None = None) -> Row:
    """Put a recording into the form in which it is stored.

    Args:
        fields: The recording; links are made unless they are given.
        site: Where the links point.
        appears: Epoch seconds from which on it is listed.
        start: Milliseconds since 1970, where known already.
    """
    key = str(fields["id"])
    made = [f'"{name}":{link}' for name, link in site.link(key).items() if name not in fields]
    if start is None:
        start = parse_moment(fields.get("start")) or 0
    body = "{" + ",".join([*made, _encode(fields)[1:]])
    return Row(key, start, appears, body.encode(), len(made))
