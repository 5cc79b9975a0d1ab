"""Look through the day folders of the bucket: listings, sidecars and manifests."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Executor, Future
from dataclasses import replace
from datetime import datetime, timezone
from typing import NamedTuple

from vbc_source.audio.bucket import Bucket, BucketFailed
from vbc_source.audio.ledger import LEDGER
from vbc_source.audio.own_accounts import ACCOUNT_FOLDER, find_own_folders
from vbc_source.audio.sidecars.manifest import LARGEST_MANIFEST, MANIFEST, manifest_key, read_lines
from vbc_source.audio.sidecars.sidecar import LARGEST_SIDECAR, sidecar_key
from vbc_source.config import VbcConfig
from vbc_source.fixity.days import DayFindings, Flaw, compare_day, judge_sidecar
from vbc_source.fixity.inventory import ArchivedFile, FileInventory
from vbc_source.recordings import EPOCH
from vbc_source.warehouse.queries import LoadedTables
from vbc_source.warehouse.recordings import RecordingSelection

MOST_KEYS = 1000  # of unknown objects that are named, and suspects that are kept
MOST_FLAWS = 10_000  # of sidecars, and of manifests, that are named
FOLDERS_AHEAD = 32  # that are being listed
MANIFESTS = 16  # to remember


class _Day(NamedTuple):
    folder: str
    findings: DayFindings
    without_manifest: bool


class FolderChecks:
    """Compares all folders of a selection with the ledger, whichever files of them a run reads.

    Attributes:
        unknown: Number of audio objects that no row of the ledger names.
        unknown_keys: The first of their keys.
        suspects: Files that are not there, or not with the size of the ledger.
        sidecars: What is wrong with sidecars, by key.
        manifests: What is wrong with manifests, by key.
        bare_files: Files in folders without sidecars and manifest.
        without_manifest: Folders without a manifest that should have one.
    """

    def __init__(
        self, bucket: Bucket, config: VbcConfig, loaded: LoadedTables, selection: RecordingSelection
    ) -> None:
        self._bucket, self._loaded, self._selection = bucket, loaded, selection
        self._own = find_own_folders(config, loaded)
        self._lock = threading.Lock()
        self._with_sidecars: set[str] = set()
        self._bare: list[str] = []
        self._lines: dict[str, dict[str, str]] = {}
        self.unknown, self.bare_files = 0, 0
        self.unknown_keys: list[str] = []
        self.suspects: list[ArchivedFile] = []
        self.sidecars: dict[str, str] = {}
        self.manifests: dict[str, str] = {}
        self.without_manifest: list[str] = []

    def check(self, pool: Executor) -> None:
        """Compare each folder."""
        waiting: deque[Future[_Day]] = deque()
        seen = set()
        for folder, files in self._read_folders(self._is_own):
            seen.add(folder)
            waiting.append(pool.submit(self._compare, folder, files))
            if len(waiting) > FOLDERS_AHEAD:
                self._note(waiting.popleft().result())
        # then what the ledger does not name: all audio in such a folder is unknown
        for folder in self._list_folders():
            if folder not in seen:
                waiting.append(pool.submit(self._compare, folder, []))
            if len(waiting) > FOLDERS_AHEAD:
                self._note(waiting.popleft().result())
        while waiting:
            self._note(waiting.popleft().result())
        if self._bare and (self._with_sidecars or self._is_of_this_version()):
            self._note_lost()

    def _is_of_this_version(self) -> bool:
        """Return whether a run that writes sidecars, those of all days, has stored a file."""
        if "actor_version" not in self._loaded.columns(LEDGER):
            return False
        query = f"SELECT count(*) FROM {LEDGER} WHERE status = 'stored' AND actor_version IS NOT NULL"
        ((count,),) = self._loaded.query(query)
        return bool(count)

    def _note_lost(self) -> None:
        """Note that bare folders had sidecars and a manifest."""
        for folder in self._bare:
            _add(self.manifests, manifest_key(folder), "it is missing, and so are all sidecars of the day")
        self.without_manifest += self._bare[: MOST_KEYS - len(self.without_manifest)]

    def compare_again(self, folders: Collection[str]) -> None:
        """Compare folders once more, whose manifest was written meanwhile; what they lacked is forgotten."""
        for flaws in (self.sidecars, self.manifests):
            for key in [key for key in flaws if key.rpartition("/")[0] in folders]:
                del flaws[key]
        for folder, files in self._read_folders(lambda address: self._bucket.key_of(address) in folders):
            findings = self._compare(folder, files).findings
            if folder in self._bare and not findings.bare:
                self.bare_files -= findings.files
            self._note_flaws(folder, findings)

    def check_sidecar(self, key: str, sha256: str | None) -> None:
        """Compare the sidecar of a file with the ledger and the manifest, if its folder has sidecars."""
        folder, _, name = key.rpartition("/")
        # an archive of an earlier version has none
        if folder not in self._with_sidecars:
            return
        sidecar = sidecar_key(key)
        if sidecar in self.sidecars:
            return
        try:
            # no more than a sidecar can have, whatever was put there
            body = b"".join(self._bucket.read_range(sidecar, 0, LARGEST_SIDECAR))
            flaw = judge_sidecar(body, sha256, self._read_lines(folder).get(sidecar_key(name)))
        except BucketFailed as error:
            flaw = str(error)
        if flaw:
            with self._lock:
                _add(self.sidecars, sidecar, flaw)

    def flaws(self) -> Iterator[str]:
        """Describe what is wrong with sidecars and manifests."""
        for key, reason in sorted({**self.manifests, **self.sidecars}.items()):
            yield f"{key}: {reason}"

    def _read_folders(self, is_chosen: Callable[[str], bool]) -> Iterator[tuple[str, list[ArchivedFile]]]:
        """Yield the chosen ones of the folders that the ledger has files in, by key."""
        # the folders of a span, whole: a file that starts before it would be unknown in the folder otherwise
        inventory = FileInventory(self._loaded, RecordingSelection(self._selection.types), EPOCH)
        for address, files in inventory.read_folders(is_chosen):
            yield str(self._bucket.key_of(address)), files

    def _is_own(self, address: str) -> bool:
        folder = self._bucket.key_of(address)
        return folder is not None and self._is_selected(folder)

    def _list_folders(self) -> Iterator[str]:
        """Yield the day folders that are in the bucket."""
        for account in self._list("", ACCOUNT_FOLDER):
            if self._own is not None and account not in self._own:
                continue  # another tenant's
            for kind in self._list(account, "recording_type="):
                yield from filter(self._is_selected, self._list(kind, "date="))

    def _list(self, folder: str, prefix: str) -> list[str]:
        names = [name for name in self._bucket.list_sizes(folder) if name.startswith(prefix)]
        return [f"{folder}/{name}" if folder else name for name in sorted(names)]

    def _is_selected(self, folder: str) -> bool:
        """Return whether a folder is of the selection's types and days."""
        kind, _, day = folder.rpartition("/date=")
        since, until = self._selection.since, self._selection.until
        if not kind.endswith(tuple(f"recording_type={name}" for name in self._selection.types)):
            return False
        # ISO dates sort as texts
        return not ((since and day < _day_of(since)) or (until and day > _day_of(until)))

    def _compare(self, folder: str, files: list[ArchivedFile]) -> _Day:
        """Compare one folder; a manifest that cannot be read is a flaw of it, and no more."""
        sizes, fault = self._bucket.list_sizes(folder), None
        manifest = None
        if (size := sizes.get(MANIFEST)) is not None:
            try:
                limit = min(size, LARGEST_MANIFEST)
                manifest = b"".join(self._bucket.read_range(manifest_key(folder), 0, limit))
            except BucketFailed as error:
                fault = Flaw(MANIFEST, str(error))
        findings = compare_day(files, sizes, manifest)
        # a bare folder has no flaws yet: only all folders together tell whether it has lost something
        lost = size is None and bool(findings.manifest)
        return _Day(folder, replace(findings, manifest=(fault,)) if fault else findings, lost)

    def _note(self, day: _Day) -> None:
        folder, findings, lost = day
        self.unknown += len(findings.unknown)
        self.unknown_keys += [f"{folder}/{name}" for name in findings.unknown][
            : MOST_KEYS - len(self.unknown_keys)
        ]
        self.suspects += findings.suspects[: MOST_KEYS - len(self.suspects)]
        if findings.bare:
            self.bare_files += findings.files
            if findings.files:
                self._bare.append(folder)
        else:
            self._with_sidecars.add(folder)
        if lost and len(self.without_manifest) < MOST_KEYS:
            self.without_manifest.append(folder)
        self._note_flaws(folder, findings)

    def _note_flaws(self, folder: str, findings: DayFindings) -> None:
        for flaws, found in ((self.sidecars, findings.sidecars), (self.manifests, findings.manifest)):
            for flaw in found:
                _add(flaws, f"{folder}/{flaw.name}", flaw.reason)

    def _read_lines(self, folder: str) -> dict[str, str]:
        """Return the hashes in the manifest of a folder, by name."""
        with self._lock:
            # read under the lock: all threads need the manifest of the same day at once
            if folder not in self._lines:
                if len(self._lines) >= MANIFESTS:
                    del self._lines[next(iter(self._lines))]
                self._lines[folder] = self._load_lines(folder)
            return self._lines[folder]

    def _load_lines(self, folder: str) -> dict[str, str]:
        key = manifest_key(folder)
        if key in self.manifests or not (size := self._bucket.size(key)):
            return {}  # reported already
        body = b"".join(self._bucket.read_range(key, 0, size))
        return {name: digest for _, name, digest in read_lines(body)}


def _add(flaws: dict[str, str], key: str, reason: str) -> None:
    if key in flaws:
        flaws[key] += f"; {reason}"
    elif len(flaws) < MOST_FLAWS:
        flaws[key] = reason


def _day_of(moment: datetime) -> str:
    return f"{moment.astimezone(timezone.utc):%Y-%m-%d}"
