"""VBC's own copies: find recordings that are not loaded, and delete recordings by the rules of retention.

A recording is deleted only if VBC still has it as it was found, with a clock that agrees. One that is gone
already counts as deleted on the evidence of its own 404.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timezone
from functools import partial
from typing import Any

from vbc_source.api.client import Client
from vbc_source.api.deletion_evidence import DeletionEvidence, request_present, says_gone
from vbc_source.api.recordings import RecordingApi
from vbc_source.config import VbcConfig
from vbc_source.erasure.journal import ErasedRecording
from vbc_source.erasure.subject import Subject
from vbc_source.errors import BadRequest, Forbidden, GatewayFault, NotFound, NotSubscribed, Unavailable
from vbc_source.recordings import RecordingType
from vbc_source.retention.candidates import ChangedSince
from vbc_source.windows import parse_instant

log = logging.getLogger(__name__)

CALLER_FILTERS = ("caller_id", "dnis")
MOST_ROWS = 10_000  # of one answer to a filter
_Owner = tuple[str, str]  # account and user


class GatewayCopies:
    """The recordings at VBC of one erasure."""

    def __init__(
        self, client: Client, config: VbcConfig, subject: Subject, now: Callable[[], datetime]
    ) -> None:
        self._client, self._config, self._subject, self._now = client, config, subject, now

    def find(self, owners: Iterable[_Owner]) -> tuple[list[ErasedRecording], list[_Owner]]:
        """Request the recordings with the number from VBC, by its own filters.

        Returns them, and the owners of the lists that gave no answer. An answer counts only if the number is
        in it: a server may ignore a filter.
        """
        # VBC's filters know no hashes and no ids
        if not self._subject.api_spellings:
            return [], []
        found: dict[tuple[Any, ...], ErasedRecording] = {}
        unanswered: list[_Owner] = []
        lists = list(owners)
        with ThreadPoolExecutor(self._config.max_concurrency) as pool:
            for owner, rows in zip(lists, pool.map(self._search, lists), strict=True):
                if rows is None:
                    unanswered.append(owner)
                for row in rows or ():
                    # several spellings may find the same one
                    found[row.key] = row
        return list(found.values()), unanswered

    def find_named(self, accounts: Iterable[str], known: Iterable[tuple[Any, ...]]) -> list[ErasedRecording]:
        """Request the recordings that were named by their ids and are not loaded; VBC may not have one."""
        # without the account, which a name need not have
        there = {key[1:] for key in known}
        found = []
        for name in self._subject.names:
            if (name.recording_type, name.user_id, name.recording_id) in there:
                continue
            for account in [name.account_id] if name.account_id else accounts:
                with suppress(NotFound):
                    row = self._open(account, name.user_id).show(name.recording_id)
                    found.append(_read_row(account, name.user_id, row))
        return found

    def _search(self, owner: _Owner) -> list[ErasedRecording] | None:
        account, user = owner
        api = self._open(account, user)
        found = []
        try:
            for name in CALLER_FILTERS:
                for number in self._subject.api_spellings:
                    rows = list(api.list({name: number}, MOST_ROWS))
                    found += [_read_row(account, user, row) for row in rows if self._subject.is_in(row)]
        # a Forbidden, and one that concerns every list
        except NotSubscribed:
            raise
        # a list that is refused is noted; a gateway that fails (Unavailable) ends the run
        except (NotFound, Forbidden, BadRequest) as fault:
            log.warning("recordings of %s could not be searched: HTTP %s", _name(owner), fault.status)
            return None
        return found

    def delete(self, recordings: Sequence[ErasedRecording]) -> Iterator[tuple[ErasedRecording, str]]:
        """Delete recordings; yield each with the reason why it is left, empty where VBC no longer has it."""
        lists: defaultdict[_Owner, list[ErasedRecording]] = defaultdict(list)
        for recording in recordings:
            lists[recording.account_id, recording.user_id].append(recording)
        with ThreadPoolExecutor(self._config.max_concurrency) as pool:
            for (account, user), rows in lists.items():
                api = self._open(account, user)
                api.request_clock(self._now())
                outcomes = list(pool.map(partial(self._delete, api), rows))
                absent = [row for row, reason in zip(rows, outcomes, strict=True) if reason is None]
                evidence = DeletionEvidence(api, pool, partial(request_present, api), self._now)
                gone = dict(evidence.confirm(row.recording_id for row in absent)) if absent else {}
                for row, reason in zip(rows, outcomes, strict=True):
                    if reason is None and row.recording_id not in gone:
                        yield row, "VBC answers 404, but not in a way that proves that it is gone"
                    else:
                        yield row, reason or ""

    def _delete(self, api: RecordingApi, recording: ErasedRecording) -> str | None:
        """Delete a recording; return why it is left, or None where VBC answers that it is gone already."""
        try:
            api.delete(recording.recording_id, partial(self._approve, recording), self._now())
        except NotSubscribed:
            raise
        except (NotFound, Forbidden, BadRequest, Unavailable, ChangedSince) as error:
            if isinstance(error, NotFound) and says_gone(error):
                return None
            reason = f"HTTP {error.status}" if isinstance(error, GatewayFault) else str(error)
            return f"VBC did not delete it: {reason}"
        return ""

    def _approve(self, recording: ErasedRecording, row: Mapping[str, Any]) -> None:
        """Raise ChangedSince unless a recording, as VBC has it now, is the one that was found."""
        # links are full of ids, in which a number may occur by chance
        if self._subject.is_in({name: value for name, value in row.items() if name != "_links"}):
            return
        now = str(row.get("call_id") or ""), row.get("file_size_in_bytes")
        if now != (recording.call_id or "", recording.size_bytes):
            raise ChangedSince("it has changed at VBC since it was loaded: run vbc sync, then this again")

    def _open(self, account: str, user: str) -> RecordingApi:
        kind: RecordingType = "user" if user else "company"
        return RecordingApi(self._client, self._config.recording_api, account, kind, user)


def _read_row(account: str, user: str, row: Mapping[str, Any]) -> ErasedRecording:
    start = None
    with suppress(ValueError, TypeError):
        start = parse_instant(str(row.get("start"))).astimezone(timezone.utc).isoformat()
    size = row.get("file_size_in_bytes")
    return ErasedRecording(
        account,
        "user" if user else "company",
        user,
        int(row["id"]),
        start,
        str(row["call_id"]) if row.get("call_id") else None,
        size if isinstance(size, int) else None,
    )


def _name(owner: _Owner) -> str:
    account, user = owner
    return f"user {user} of account {account}" if user else f"account {account}"
