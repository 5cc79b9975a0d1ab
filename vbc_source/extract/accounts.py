"""Accounts, their users and extensions: which account `self` is, and the lists of the Provisioning API.

The lists are read whole; rows that have left one stay loaded, marked as gone.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec
import pyarrow as pa

from vbc_source.api.endpoints import COMPANY, ON_DEMAND, USERS, Endpoint
from vbc_source.config import SELF
from vbc_source.errors import Forbidden, GatewayFault, NotFound, SettingsError, Unavailable
from vbc_source.extract.reading.lists import ListOwner, ListReader, describe_unresolved
from vbc_source.extract.reading.window_attempt import ReadWindow
from vbc_source.extract.refusals import CHECK_PATH, concerns_one_list
from vbc_source.extract.state import ResourceRun
from vbc_source.extract.tables import TableBuilder
from vbc_source.pii import LONG_ID
from vbc_source.schema.columns import ARROW_TYPES, INSTANT, to_text
from vbc_source.schema.names import GONE
from vbc_source.schema.pages import PageRows
from vbc_source.schema.tables import digest, find_rule

log = logging.getLogger(__name__)

LISTED = "listed"  # in the state of a resource: by account, a digest of the ids of its list


class AccountDirectory:
    """Looks up accounts and users, each once a run; state keeps the API user's account by `identity`."""

    def __init__(self, reader: ListReader, identity: str) -> None:
        self._reader, self._identity = reader, identity
        self._self: str | None = None
        self._lists: dict[tuple[str, str, str], ReadWindow[PageRows]] = {}
        self._failed: dict[tuple[str, str, str], Unavailable] = {}

    def learn(self, account: str) -> None:
        """Store which account `self` is, as the response to another list showed."""
        self._self = account

    def find_account(self, requested: str, state: MutableMapping[str, Any]) -> str:
        """Return an account's real id, and store it: the Provisioning API takes no `self`."""
        if requested != SELF:
            return requested
        known = self._self or state.get(self._identity) or self._request_account()
        if self._identity:
            state[self._identity] = known
        self._self = known
        return known

    def find_user(self, account: str) -> str:
        """Return which user `self` is.

        Raises:
            SettingsError: No response names the user.
        """
        user = self._reader.find_owner(ON_DEMAND, ListOwner(account, SELF))[1]
        if not user:
            raise SettingsError(describe_unresolved("user"))
        return user

    def _request_account(self) -> str:
        faults: list[GatewayFault] = []
        # either list shows the account, and the API user may lack the right to one of them
        for endpoint, owner in ((COMPANY, ListOwner(SELF)), (ON_DEMAND, ListOwner(SELF, SELF))):
            try:
                if account := self._reader.find_owner(endpoint, owner)[0]:
                    return account
            except GatewayFault as fault:
                if not concerns_one_list(fault):
                    raise
                faults.append(fault)
        for found in faults:
            if not isinstance(found, (Forbidden, NotFound)):
                raise found  # it may pass, so no setting is wrong
        text = describe_unresolved("account")
        if faults:
            text += f". {faults[0]}" + (f"; {CHECK_PATH}" if isinstance(faults[0], NotFound) else "")
        raise SettingsError(text)

    def read_list(
        self, endpoint: Endpoint, account: str, run: str, now: datetime, state: MutableMapping[str, Any]
    ) -> ReadWindow[PageRows]:
        """Read an account's whole list, once a run.

        A list of several pages is read twice, unless `state` says that it had the same ids before.
        """
        key = (endpoint.name, account, run)
        if fault := self._failed.get(key):
            raise fault  # several resources need it; each would retry as long
        if key not in self._lists:
            # lists of an earlier run are old: a source may run again in the same process
            self._lists = {known: read for known, read in self._lists.items() if known[-1] == run}
            with explain_refusal():
                try:
                    self._lists[key] = self._read_list(endpoint, account, now, state)
                except Unavailable as fault:
                    self._failed = {known: old for known, old in self._failed.items() if known[-1] == run}
                    self._failed[key] = fault
                    raise
        return self._lists[key]

    def _read_list(
        self, endpoint: Endpoint, account: str, now: datetime, state: MutableMapping[str, Any]
    ) -> ReadWindow[PageRows]:
        read = self._reader.read_whole(endpoint, ListOwner(account), now)
        if len(read.pages) == 1:
            return read
        # When one user leaves while another comes, the counts agree although a third one, who
        # moved to the page before, was not read. A user in either of two readings is there. Where the
        # ids are those of the run before, only one who is new can be missing, and comes with the next run.
        if not read.is_proven or state.get(LISTED, {}).get(account) != _digest_ids(read):
            again = self._reader.read_whole(endpoint, ListOwner(account), now)
            read = replace(again, pages=(*again.pages, *read.pages))
        if read.is_proven:
            state.setdefault(LISTED, {})[account] = _digest_ids(read)
        return read

    def users(self, account: str, run: str, now: datetime, state: MutableMapping[str, Any]) -> dict[str, str]:
        """Return the users of an account: names by id."""
        read = self.read_list(USERS, account, run, now, state)
        return {
            row["id"]: " ".join(filter(None, (row["first_name"], row["last_name"])))
            or row["login_name"]
            or ""
            for page in read.pages
            for row in page.rows.table.select(["id", "first_name", "last_name", "login_name"]).to_pylist()
        }


def _digest_ids(read: ReadWindow[PageRows]) -> str:
    ids = sorted({str(id_) for page in read.pages for id_ in page.ids})
    return hashlib.blake2b("\n".join(ids).encode(), digest_size=8).hexdigest()


@contextmanager
def explain_refusal() -> Iterator[None]:
    """Add to a refusal of the Provisioning API how to do without it, or what to check."""
    try:
        yield
    except Forbidden as fault:
        fault.args = (
            f"{fault}; or do without the list of users: set user_ids in [sources.vbc] to a list of users, "
            "to self, or to [] for none",
        )
        raise
    except NotFound as fault:
        fault.args = (f"{fault}; check account_id",)
        raise


def write_snapshot(run: ResourceRun, account: str, read: ReadWindow[PageRows]) -> Iterator[pa.Table]:
    """Yield the rows of an account's list, then those that have left it; nothing where nothing changed."""
    endpoint, key = run.endpoint, run.endpoint.shape.id_column
    # before dlt adds the columns that come with this list
    known = run.schema.tables[endpoint.name]["columns"] if endpoint.name in run.schema.tables else {}
    columns = {
        name: ARROW_TYPES.get(str(column["data_type"]), pa.string())
        for name, column in known.items()
        if column.get("data_type") and not name.startswith("_dlt")
    }
    builder = TableBuilder(endpoint, run.schema, run.config.pii_policy)
    table = builder.build([page.rows for page in read.pages], {"account_id": account})
    log.info("%s of account %s: %s", endpoint.name, account, f"{len(table):,}")
    loaded, current = run.state.setdefault("digests", {}), digest(table, key)
    if loaded.get(account) == current and _is_present(run, account, table[key]):
        return
    # null for all who are there: it replaces the mark of one who has come back
    yield table.append_column(pa.field(GONE, INSTANT), pa.nulls(len(table), INSTANT))
    if not len(table) or not read.is_proven:
        # an account without users has no API user either: something is wrong, so nobody is marked
        loaded.pop(account, None)
        return
    gone = _read_gone(run, account, columns, set(table[key].to_pylist()))
    if gone is None:
        return  # without a digest the next run looks again for rows that have left
    if len(gone):
        log.info("%d of them have left", len(gone))
        yield gone
    loaded[account] = current


def _is_present(run: ResourceRun, account: str, ids: pa.ChunkedArray) -> bool:
    """Whether the destination still has all rows of a list that was loaded before."""
    if run.lookup.in_files:
        return True
    rows = run.lookup.read_present(run.endpoint, account, [run.endpoint.shape.id_column])
    present = {row[run.endpoint.shape.id_column] for row in rows or ()}
    return rows is not None and present.issuperset(ids.to_pylist())


def _read_gone(
    run: ResourceRun, account: str, columns: Mapping[str, pa.DataType], present: set[str]
) -> pa.Table | None:
    """Read the loaded rows that the list no longer has; None where the destination does not answer."""
    endpoint, key = run.endpoint, run.endpoint.shape.id_column
    rows: list[dict[str, Any]] | None = []
    if key in columns and GONE in columns:  # otherwise nothing was loaded yet
        # whole rows: a merge replaces every column of the row that gets the mark
        rows = run.lookup.read_present(endpoint, account, list(columns))
    if rows is None:
        return None
    fields = [pa.field(name, kind, name not in endpoint.primary_key) for name, kind in columns.items()]
    gone = [
        {name: _hide(run, name, row.get(name)) for name in columns} | {GONE: run.now}
        for row in rows
        if row[key] not in present
    ]
    return pa.Table.from_pylist(gone, pa.schema(fields))


def _hide(run: ResourceRun, name: str, value: Any) -> Any:
    """Hide a value that was loaded before `pii` was set; hidden values stay unchanged."""
    shape, privacy = run.endpoint.shape, run.config.pii_policy
    known = name in shape.fields
    if privacy.keeps or name in run.endpoint.primary_key or not isinstance(value, (str, int, float)):
        return value
    if not isinstance(value, str):
        # a long number may be that of a telephone: it becomes null, as no hash fits into a column of numbers
        is_short = value < LONG_ID if known else privacy.hide_value(value) == value
        return value if is_short or (known and name not in shape.ids) else None
    if known:
        rule = find_rule(name, shape, privacy)
        return rule[0](value) if rule else value
    with suppress(msgspec.DecodeError):
        if isinstance(inner := msgspec.json.decode(value), (dict, list)):
            return to_text(privacy.hide_value(inner))
    return privacy.hide(value)
