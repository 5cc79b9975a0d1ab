"""Single recordings in the API: list, show and delete them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from itertools import chain, count
from typing import Any

from vbc_source.api.client import Client
from vbc_source.api.endpoints import RECORDING_ENDPOINTS
from vbc_source.api.http.bodies import read_list, read_object
from vbc_source.config import SELF, load_config
from vbc_source.errors import BadRequest, Forbidden, NotFound, UsageError
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
        self._path = RECORDING_ENDPOINTS[recording_type].locate(root, account, user)
        self._title = f"{recording_type} recording"

    def list(self, filters: Mapping[str, str], limit: int) -> Iterator[dict[str, Any]]:
        """Yield at most `limit` recordings, newest first, as the API has them; maybe not all: unchecked."""
        seen = set[str]()
        for number, page in enumerate(self._list_pages({**filters, "page_size": min(limit, PAGE)})):
            new = {str(row.get("id")): row for row in page if str(row.get("id")) not in seen}
            yield from list(new.values())[: limit - len(seen)]
            seen |= new.keys()
            # page 1 may be the first one again; after the last page, some servers repeat it
            if len(seen) >= limit or (number > 1 and not new):
                return

    def _list_pages(self, params: Mapping[str, str | int]) -> Iterator[Sequence[dict[str, Any]]]:
        """Yield the pages of a list to its end; where the server counts from 1, the first one twice."""
        # without a number it is the first page, wherever the server starts to count
        for number in chain([None], count(1)):
            numbered = {**params, **({} if number is None else {"page": number})}
            title = f"list of {self._title}s"
            try:
                rows, total = self._client.get(
                    self._path, numbered, lambda body: read_list(body, "recordings"), what=title
                )
            except (NotFound, BadRequest) as fault:  # some servers answer so after the last page
                if number is None or fault.code is not None:
                    raise
                return
            yield rows
            if not rows or (number is None and len(rows) >= total):
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

    def request_clock(self, now: datetime) -> None:
        """Request the list, and raise WrongClock unless `now` is the time of the response."""
        with suppress(Forbidden, NotFound):  # these are responses, too
            next(self.list({}, 1), None)
        self.check_clock(now)

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
        # `show` has just noted the gateway's time, so this is the clock of right before the deletion
        self.check_clock(now)
        self._client.delete(self.locate(recording_id), what=f"deletion of {self._title} {recording_id}")


def open_recordings(recording_type: str, user: str = SELF, account: str | None = None) -> RecordingApi:
    """Open the recordings of an account, with the settings of dlt's configuration.

    Args:
        recording_type: `company` or `user`.
        user: Owner of user recordings.
        account: The account, if the settings list several.

    Raises:
        UsageError: A user was given for company recordings, which no user owns.
        SettingsError: A setting is missing or malformed; the message names it.
    """
    if recording_type != "user" and user != SELF:
        raise UsageError(
            "company recordings belong to no user: ask for user recordings, or leave the user out"
        )
    config = load_config()
    kind: RecordingType = "user" if recording_type == "user" else "company"
    return RecordingApi(
        Client.from_config(config), config.recording_api, config.choose_account(account), kind, user
    )
