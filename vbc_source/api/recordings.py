"""Single recordings at the API: where they are, and how to list, show and delete them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from vbc_source.api.client import Client
from vbc_source.config import SELF, load_config
from vbc_source.recordings import RecordingType

PAGE = 100


class RecordingApi:
    """The recordings of a company, or of one of its users.

    Args:
        client: what to send with.
        root: path of the Call Recording API.
        account: an account id, or `self`.
        recording_type: `company` or `user`.
        user: a user id, or `self`; for users' recordings.
    """

    def __init__(
        self, client: Client, root: str, account: str, recording_type: RecordingType, user: str = ""
    ) -> None:
        self._client = client
        whose = f"users/{quote(user, safe='')}/call_recordings" if recording_type == "user" else ""
        self._path = f"{root}/accounts/{quote(account, safe='')}/{whose or 'company_call_recordings'}"
        self._title = f"{recording_type} recording"

    def list(self, filters: Mapping[str, str], limit: int) -> Iterator[dict[str, Any]]:
        """Give recordings as the API has them, newest first: a look, not a proven list.

        Args:
            filters: the API's own, such as `start:gte`.
            limit: how many at most.

        Raises:
            GatewayFault: the gateway's last word.
        """
        number, seen = 1, 0
        while seen < limit:
            params: dict[str, str | int] = {**filters, "page": number, "page_size": min(limit, PAGE)}
            rows = self._client.get(self._path, params, _read_rows, what=f"list of {self._title}s")
            yield from rows[: limit - seen]
            number, seen = number + 1, seen + len(rows)
            if not rows:
                return

    def show(self, recording_id: int) -> dict[str, Any]:
        """Give one recording as the API has it.

        Raises:
            NotFound: there is none of that id.
            GatewayFault: the gateway's last word.
        """
        return self._client.get(
            self.locate(recording_id), None, _read_object, what=f"{self._title} {recording_id}"
        )

    def locate(self, recording_id: int) -> str:
        """Give the path of one recording."""
        return f"{self._path}/{recording_id}"

    def delete(self, recording_id: int) -> None:
        """Delete a recording, for good.

        Raises:
            NotFound: there is none of that id.
            GatewayFault: the gateway's last word.
        """
        self._client.delete(self.locate(recording_id), what=f"deletion of {self._title} {recording_id}")


def _read_object(body: bytes) -> dict[str, Any]:
    found = json.loads(body)
    if not isinstance(found, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - what a reader says of a broken body
    return found


def _read_rows(body: bytes) -> list[dict[str, Any]]:
    found = _read_object(body)
    rows = (found.get("_embedded") or {}).get("recordings") or []
    if "total_items" not in found or not all(isinstance(row, dict) for row in rows):
        raise ValueError("not a list answer")
    return list(rows)


def open_recordings(recording_type: str, user: str = SELF, account: str | None = None) -> RecordingApi:
    """Connect to single recordings at VBC, with settings from dlt's configuration.

    Args:
        recording_type: `company` or `user`.
        user: Whose recordings, for `user`.
        account: Which account, where the settings name several.

    Raises:
        SettingsError: A setting is missing or malformed; the message names it.
    """
    config = load_config()
    kind: RecordingType = "user" if recording_type == "user" else "company"
    return RecordingApi(
        Client.from_config(config), config.recording_api, config.choose_account(account), kind, user
    )
