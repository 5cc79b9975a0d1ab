"""Compare the folder of a day with the ledger: its objects, its sidecars, its manifest. Pure.

A manifest has BagIt's line format, `<sha256>  <name>`, which `sha256sum -c` reads. Archives of earlier
versions have neither manifests nor sidecars: their days are not judged by them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vbc_source.audio.sidecars.manifest import MANIFEST, read_lines
from vbc_source.audio.sidecars.sidecar import is_audio, sidecar_key
from vbc_source.fixity.inventory import ArchivedFile, name_of

MOST_FLAWS = 20  # of one manifest that are reported


@dataclass(frozen=True, slots=True)
class Flaw:
    """What is wrong with a sidecar or a manifest; `name` is that of the object in its folder."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class DayFindings:
    """What is wrong in the folder of a day.

    Attributes:
        unknown: Audio objects that no row of the ledger names.
        suspects: Files that are missing, or have another size than in the ledger, as the folder is listed.
        sidecars: Sidecars that are missing.
        manifest: What is wrong with the manifest.
        bare: Whether there is neither a manifest nor a sidecar.
        files: Number of files that the ledger has there.
    """

    unknown: tuple[str, ...]
    suspects: tuple[ArchivedFile, ...]
    sidecars: tuple[Flaw, ...]
    manifest: tuple[Flaw, ...]
    bare: bool
    files: int


def compare_day(
    files: Sequence[ArchivedFile], sizes: Mapping[str, int], manifest: bytes | None
) -> DayFindings:
    """Compare a folder, as listed, and its manifest with all files that the ledger has there."""
    named = {name_of(file): file for file in files}
    bare = manifest is None and not any(name.endswith(".json") for name in sizes)
    missing = [sidecar for sidecar in map(sidecar_key, named) if sidecar not in sizes]
    return DayFindings(
        unknown=tuple(name for name in sorted(sizes) if is_audio(name) and name not in named),
        # also what is not listed: None is no size
        suspects=tuple(file for name, file in named.items() if sizes.get(name) != file.row.size_bytes),
        sidecars=() if bare else tuple(Flaw(name, "it is missing") for name in missing),
        manifest=() if bare else tuple(_judge_manifest(named, sizes, manifest)),
        bare=bare,
        files=len(named),
    )


def _judge_manifest(
    named: Mapping[str, ArchivedFile], sizes: Mapping[str, int], manifest: bytes | None
) -> list[Flaw]:
    if manifest is None:
        return [Flaw(MANIFEST, "it is missing")]
    hashes: dict[str, str] = {}
    flaws = []
    for number, name, digest in read_lines(manifest):
        if not name:
            flaws.append(f"its line {number} is not a hash and a name")
        elif hashes.setdefault(name, digest) != digest:
            flaws.append(f"it has two hashes of {name}")
    for name, file in named.items():
        if name not in hashes:
            flaws.append(f"it has no line of {name}")
        elif hashes[name] != file.row.sha256:
            flaws.append(f"its hash of {name} is not that of the ledger")
        elif (sidecar := sidecar_key(name)) in sizes and sidecar not in hashes:
            # both lines are written at once; without this one, an edited sidecar would not be noticed
            flaws.append(f"it has no line of {sidecar}")
    strangers = [name for name in hashes if name not in named and name not in sizes]
    flaws += [f"it names {name}, which is not there" for name in strangers]
    more = [f"and {len(flaws) - MOST_FLAWS:,} more"] if len(flaws) > MOST_FLAWS else []
    return [Flaw(MANIFEST, flaw) for flaw in flaws[:MOST_FLAWS] + more]


def judge_sidecar(body: bytes, sha256: str | None, listed: str | None) -> str | None:
    """Return what is wrong with a sidecar, or None.

    Args:
        body: The sidecar.
        sha256: SHA-256 of the audio file in the ledger.
        listed: SHA-256 of the sidecar in the manifest, or None if it has no line of it.
    """
    if listed and hashlib.sha256(body).hexdigest() != listed:
        return "it is not the file that the manifest has the SHA-256 of"
    try:
        audio = json.loads(body)["audio"]["sha256"]
    except (ValueError, LookupError, TypeError):
        return "it is not a sidecar: it has no audio.sha256"
    return None if audio == sha256 else "its audio.sha256 is not that of the ledger"
