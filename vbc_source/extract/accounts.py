"""Accounts and users: which account `self` stands for, and which users an account has."""

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
from vbc_source.extract.lists import ListOwner, ListReader
from vbc_source.extract.window_reader import ProvenWindow
from vbc_source.schema.pages import PageRows

log = logging.getLogger(__name__)


class AccountDirectory:
    """Looks up accounts and users, each once a run."""

    def __init__(self, reader: ListReader, identity: str) -> None:
        self._reader, self._identity = reader, identity
        self._self: str | None = None
        self._lists: dict[tuple[str, str, str], ProvenWindow[PageRows]] = {}

    def learn(self, account: str) -> None:
        """Store which account `self` is, as an answer to another list showed."""
        self._self = account

    def find_account(self, requested: str, state: MutableMapping[str, Any]) -> str:
        """Return an account's real id: the Provisioning API takes no `self`."""
        if requested != SELF:
            return requested
        known = self._self or state.get(self._identity) or self._request_account()
        if not known:
            raise SettingsError(
                "the gateway does not say which account self is: set account_id to its number"
            )
        if self._identity:
            state[self._identity] = known
        self._self = known
        return known

    def _request_account(self) -> str | None:
        for endpoint, owner in ((COMPANY, ListOwner(SELF)), (ON_DEMAND, ListOwner(SELF, SELF))):
            try:
                if account := self._reader.find_account(endpoint, owner):
                    return account
            except (Forbidden, NotFound) as fault:
                log.info("a list does not tell which account self is: %s", fault)
        return None

    def read_list(self, endpoint: Endpoint, account: str, run: str, now: datetime) -> ProvenWindow[PageRows]:
        """Read an account's whole list, once a run; a list of several pages is read twice."""
        key = (endpoint.name, account, run)
        if key not in self._lists:
            self._lists = {known: proof for known, proof in self._lists.items() if known[-1] == run}
            with advising():
                self._lists[key] = self._read_all(endpoint, ListOwner(account), now)
        return self._lists[key]

    def _read_all(self, endpoint: Endpoint, owner: ListOwner, now: datetime) -> ProvenWindow[PageRows]:
        proof = self._reader.read_whole(endpoint, owner, now)
        if len(proof.pages) == 1:
            return proof
        # When one user leaves while another comes, the counts agree although a third one, who moved to the
        # page before, was not read. A user in either of two readings is there.
        again = self._reader.read_whole(endpoint, owner, now)
        return replace(again, pages=(*again.pages, *proof.pages))

    def users(self, account: str, run: str, now: datetime) -> dict[str, str]:
        """Return the users of an account: names by id."""
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
    """Add to a refusal of the Provisioning API how to do without it."""
    try:
        yield
    except Forbidden as fault:
        fault.args = (
            f"{fault}; or do without the list of users: set user_ids in [sources.vbc] to a list of users, "
            "to self, or to [] for none",
        )
        raise
