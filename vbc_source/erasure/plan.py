"""Plan an erasure: what there is of a person, and what forbids to erase it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from vbc_source.config import SELF, VbcConfig
from vbc_source.erasure.find import (
    find_erased_before,
    find_legs,
    find_member_tables,
    find_of_calls,
    find_open_holds,
    find_recordings,
    find_stored_keys,
    has_namesake,
)
from vbc_source.erasure.gateway import GatewayCopies
from vbc_source.erasure.journal import ErasedRecording, ErasureJournal
from vbc_source.erasure.objects import ObjectCopies
from vbc_source.erasure.result import Blocked
from vbc_source.erasure.subject import Subject
from vbc_source.recordings import RecordingKey
from vbc_source.retention.legal_hold import LegalHold
from vbc_source.retention.plan import PolicyFiles, find_kept
from vbc_source.warehouse.queries import LoadedTables
from vbc_source.warehouse.recordings import TABLES
from vbc_source.warehouse.users import read_listed_users


@dataclass(frozen=True, slots=True)
class Restraints:
    """What forbids an erasure, beside the bucket: a hold list, and a retention policy with its own list."""

    hold: LegalHold
    policy: PolicyFiles | None


class ErasurePlanner:
    """Plans one erasure.

    Attributes:
        blocked: What is not to be erased, and why.
        notes: What to know beside.
    """

    def __init__(
        self,
        loaded: LoadedTables,
        config: VbcConfig,
        subject: Subject,
        gateway: GatewayCopies,
        objects: ObjectCopies | None,
        restraints: Restraints,
    ) -> None:
        self._loaded, self._config, self._subject = loaded, config, subject
        self._gateway, self._objects, self._restraints = gateway, objects, restraints
        self._unloaded: set[RecordingKey] = set()
        self.blocked: list[Blocked] = []
        self.notes: list[str] = []

    def plan(self, before: ErasureJournal, subject_hash: str) -> ErasureJournal:
        """Find the recordings and legs of calls, beside those that a killed run was about to erase."""
        loaded, subject = self._loaded, self._subject
        found = {row.key: row for row in before.recordings}
        legs = {(leg.account_id, leg.leg): leg for leg in before.legs}
        tables = loaded.find(*TABLES.values())
        if tables:
            # the journal's row stays: it has the objects that were found before the kill
            found |= {row.key: row for row in find_recordings(loaded, subject) if row.key not in found}
            by_number = find_legs(loaded, subject)
            calls = {(leg.account_id, leg.call_id) for leg in by_number if leg.call_id}
            found |= {row.key: row for row in find_of_calls(loaded, calls) if row.key not in found}
        owners = self._list_owners(tables)
        at_vbc, unanswered = self._gateway.find(owners)
        at_vbc += self._gateway.find_named(dict.fromkeys(account for account, _ in owners), found)
        # rules of a policy are matched with loaded rows alone
        self._unloaded = {row.key for row in at_vbc} - found.keys()
        for row in (*at_vbc, *self._find_returned(subject_hash)):
            found.setdefault(row.key, row)
        if unanswered:
            self.notes.append(
                f"{len(unanswered)} list(s) at VBC could not be searched for recordings that are not loaded"
            )
        if tables:
            calls = {(row.account_id, row.call_id) for row in found.values() if row.call_id}
            if not subject.names:  # the person is heard in the other recordings of a call, whatever they say
                found |= {row.key: row for row in find_of_calls(loaded, calls) if row.key not in found}
            legs |= {(leg.account_id, leg.leg): leg for leg in find_legs(loaded, subject, calls)}
            for table in find_member_tables(loaded, subject):
                self._block(
                    f"table {table} has it as a number of the account itself, of a user or an extension: all "
                    "their recordings would be erased; remove it at VBC first, then run vbc sync"
                )
        for section in ("filters", "call_log_filters"):
            if subject.is_in(dict(getattr(self._config, section).params)):
                self._block(f"the setting {section} in [sources.vbc] names it: remove it there first")
        return replace(before, recordings=tuple(found.values()), legs=tuple(legs.values()))

    def _find_returned(self, subject_hash: str) -> list[ErasedRecording]:
        """Find what was erased before and has objects again: the bucket was restored from a backup."""
        if self._objects is None:
            return []
        erased = find_erased_before(self._loaded, subject_hash)
        return [row for row in erased if self._objects.find(row, (), (), shares_id=self._shares_id(row)).keys]

    def _list_owners(self, tables: Sequence[str]) -> list[tuple[str, str]]:
        """Return the lists at VBC: of the accounts that are loaded or configured, and of their users."""
        owners: dict[tuple[str, str], None] = {}
        for table in tables:
            user = "user_id" if table == "user_recordings" else "''"
            for account, owner in self._loaded.query(f"SELECT DISTINCT account_id, {user} FROM {table}"):
                # the company's list too, where only recordings of users are loaded
                owners[str(account), ""] = None
                owners[str(account), str(owner or "")] = None
        if self._config.has_user_recordings:
            # also users of whom nothing is loaded
            owners |= dict.fromkeys(read_listed_users(self._loaded))
        configured = [name for name in self._config.accounts if name != SELF]
        owners |= {(account, ""): None for account in configured}
        # nothing is loaded, and no account set: that of the login
        return list(owners) or [(SELF, "")]

    def choose(self, recordings: Sequence[ErasedRecording], now: datetime) -> list[ErasedRecording]:
        """Return the recordings that nothing forbids to erase, with their objects."""
        free = []
        uris = find_stored_keys(self._loaded, recordings)
        held, kept = find_open_holds(self._loaded), self._find_kept(recordings, now)
        for row in recordings:
            reason = self._find_hold(row)
            if not reason and row.key in held:
                reason = "recording_holds has a hold that is not released: make a retention plan without it"
            reason = reason or kept.get(row.key, "")
            if not reason and self._objects:
                # under None: those that the ledger names for a recording which is not among these, too
                shared = uris.get(None, set())
                found = self._objects.find(row, uris.get(row.key, ()), shared, shares_id=self._shares_id(row))
                reason, row = found.reason, replace(row, keys=found.keys)  # noqa: PLW2901
            if reason:
                self.blocked.append(Blocked(row.recording_id, reason))
            else:
                free.append(row)
        if self._objects and self._objects.has_unmatched():
            self.notes.append(
                "the bucket has unmatched/: files of exports that belong to no loaded recording; look there"
            )
        return free

    def _find_hold(self, row: ErasedRecording) -> str:
        if self._restraints.hold.holds(row.recording_id, row.call_id):
            return "it is on the hold list"
        policy = self._restraints.policy
        if policy and policy.hold.holds(row.recording_id, row.call_id):
            return f"it is on the hold list of the policy, {policy.hold_path}"
        return ""

    def _find_kept(self, recordings: Sequence[ErasedRecording], now: datetime) -> dict[RecordingKey, str]:
        """Return the recordings that the policy keeps, and those for which that is unknown."""
        policy = self._restraints.policy
        if policy is None:
            self.notes.append("no retention policy was asked: there was none")
            return {}
        self.notes.append(f"the policy {policy.path.name} was asked, SHA-256 {policy.sha256}")
        if not policy.policy.keeps:
            return {}
        reasons = dict.fromkeys(
            self._unloaded, "it is not loaded, so the policy cannot be asked: run vbc sync"
        )
        ids = {row.recording_id for row in recordings} if self._loaded.find(*TABLES.values()) else set()
        for key, rule in find_kept(self._loaded, policy.policy, ids, now):
            reasons[key] = (
                f"rule {rule} of {policy.path.name} keeps it; who may decide that it goes changes the policy"
            )
        return reasons

    def _shares_id(self, row: ErasedRecording) -> bool:
        """Return whether another user has a recording with the same id: its file may have the plain name."""
        return row.recording_type == "user" and has_namesake(self._loaded, row)

    def _block(self, reason: str) -> None:
        self.blocked.append(Blocked(None, reason))
