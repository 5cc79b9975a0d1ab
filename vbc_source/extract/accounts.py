"""Who there is: which account `self` stands for, and which users an account has."""

from __future__ import annotations

import logging
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any

from vbc_source.api.endpoints import COMPANY, ON_DEMAND, USERS, Endpoint
from vbc_source.config import SELF
from vbc_source.errors import Forbidden, NotFound, SettingsError
from vbc_source.extract.completeness import ProvenWindow
from vbc_source.extract.lists import ListOwner, ListReader
from vbc_source.schema.pages import PageRows

log = logging.getLogger(__name__)


class AccountDirectory:
    """What is known of accounts and users, each asked for once a run.

    Args:
        reader: what to ask with.
        identity: of the API user, under which the account is remembered; empty for none.
    """

    def __init__(self, reader: ListReader, identity: str) -> None:
        self._reader, self._identity = reader, identity
        self._self: str | None = None
        self._lists: dict[tuple[str, str, str], ProvenWindow[PageRows]] = {}

    def learn(self, account: str) -> None:
        """Take over which account `self` is from whoever saw it."""
        self._self = account

    def find_account(self, asked: str, state: MutableMapping[str, Any]) -> str:
        """Give an account's real id: the Provisioning API takes no `self`.

        Args:
            asked: an account id, or `self`.
            state: where to remember it; a mapping of the source's state.

        Raises:
            SettingsError: `self` was asked for and nothing says which account it is.
        """
        if asked != SELF:
            return asked
        known = self._self or state.get(self._identity) or self._ask()
        if not known:
            raise SettingsError(
                "the gateway does not say which account self is: set account_id to its number"
            )
        if self._identity:
            state[self._identity] = known
        self._self = known
        return known

    def _ask(self) -> str | None:
        for endpoint, place in ((COMPANY, ListOwner(SELF)), (ON_DEMAND, ListOwner(SELF, SELF))):
            try:
                if found := self._reader.find_account(endpoint, place):
                    return found
            except (Forbidden, NotFound) as fault:
                log.info("cannot tell from it which account self is: %s", fault)
        return None

    def read_list(self, endpoint: Endpoint, account: str, run: str, now: datetime) -> ProvenWindow[PageRows]:
        """Read an account's list whole, once a run; a list of several pages twice.

        Args:
            endpoint: users or extensions.
            account: the real id.
            run: names the run.
            now: when it began.

        Raises:
            VbcError: it could not be read, or not proven complete.
        """
        key = (endpoint.name, account, run)
        if key not in self._lists:
            self._lists = {known: proof for known, proof in self._lists.items() if known[-1] == run}
            with advising():
                self._lists[key] = self._read_all(endpoint, ListOwner(account), now)
        return self._lists[key]

    def _read_all(self, endpoint: Endpoint, place: ListOwner, now: datetime) -> ProvenWindow[PageRows]:
        proof = self._reader.read_whole(endpoint, place, now)
        if len(proof.pages) == 1:
            return proof
        # where one leaves while another comes the counts agree, and a third who moved to the page
        # before was not seen: whoever is in either of two readings is there
        again = self._reader.read_whole(endpoint, place, now)
        return replace(again, pages=(*again.pages, *proof.pages))

    def users(self, account: str, run: str, now: datetime) -> dict[str, str]:
        """Give the users of an account, by id, with their names."""
        proof = self.read_list(USERS, account, run, now)
        return {
            row["id"]: " ".join(filter(None, (row["first_name"], row["last_name"])))
            or row["login_name"]
            or ""
            for page in proof.pages
            for row in page.rows.table.select(["id", "first_name", "last_name", "login_name"]).to_pylist()
        }


@contextmanager
def advising() -> Iterator[None]:
    """Have a refusal of the Provisioning API say how to do without it."""
    try:
        yield
    except Forbidden as fault:
        fault.args = (
            f"{fault}; or do without the list of users: set user_ids in [sources.vbc] to a list of users, "
            "to self, or to [] for none",
        )
        raise
