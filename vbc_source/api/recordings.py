"""Single recordings in the API: list, show and delete them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timezone
from typing import Any

from vbc_source.api.client import Client
from vbc_source.api.endpoints import COMPANY, ON_DEMAND
from vbc_source.api.http.bodies import read_list, read_object
from vbc_source.config import SELF, load_config
from vbc_source.recordings import RecordingType

PAGE = 100


class RecordingApi:
    """The recordings of a company, or of one of its users. Its methods raise the faults of `Client`.

    `root` is the path of the Call Recording API; account and user are ids, or `self`.
    """

    def __init__(
        self, client: Client, root: str, account: str, recording_type: RecordingType, user: str = ""
    ) -> None:
        self._client = client
        self._path = (ON_DEMAND if recording_type == "user" else COMPANY).locate(root, account, user)
        self._title = f"{recording_type} recording"

    def list(self, filters: Mapping[str, str], limit: int) -> Iterator[dict[str, Any]]:
        """Yield at most `limit` recordings, newest first, as the API has them; maybe not all: unchecked."""
        number, seen = 1, 0
        while seen < limit:
            params: dict[str, str | int] = {**filters, "page": number, "page_size": min(limit, PAGE)}
            title = f"list of {self._title}s"
            rows, _ = self._client.get(
                self._path, params, lambda body: read_list(body, "recordings"), what=title
            )
            yield from rows[: limit - seen]
            number, seen = number + 1, seen + len(rows)
            if not rows:
                return

    def show(self, recording_id: int) -> dict[str, Any]:
        """Return one recording as the API has it; raises NotFound."""
        return self._client.get(
            self.locate(recording_id), None, read_object, what=f"{self._title} {recording_id}"
        )

    def locate(self, recording_id: int) -> str:
        """Return the path of one recording."""
        return f"{self._path}/{recording_id}"

    def check_clock(self, now: datetime | None = None) -> None:
        """Raise WrongClock unless `now` is the time of the gateway's last response."""
        self._client.gateway_clock.check(now or datetime.now(timezone.utc))

    def delete(
        self,
        recording_id: int,
        approve: Callable[[Mapping[str, Any]], None] = lambda _: None,
        now: datetime | None = None,
    ) -> None:
        """Delete a recording irrevocably; raises NotFound, and WrongClock if `now` is not the gateway's time.

        `approve` gets the recording as VBC has it right before, and raises where it must stay.
        """
        approve(self.show(recording_id))
        self.check_clock(now)
        self._client.delete(self.locate(recording_id), what=f"deletion of {self._title} {recording_id}")


def open_recordings(recording_type: str, user: str = SELF, account: str | None = None) -> RecordingApi:
    """Open the recordings of an account, with the settings of dlt's configuration.

    Args:
        recording_type: `company` or `user`.
        user: Owner of user recordings.
        account: The account, if the settings list several.

    Raises:
        SettingsError: A setting is missing or malformed; the message names it.
    """
    config = load_config()
    kind: RecordingType = "user" if recording_type == "user" else "company"
    return RecordingApi(
        Client.from_config(config), config.recording_api, config.choose_account(account), kind, user
    )
