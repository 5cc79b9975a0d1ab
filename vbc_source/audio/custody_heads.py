"""Heads of the chain of custody in the bucket: the newest event of each day, which is never replaced.

Where the bucket is locked, nobody can rewrite what happened before the last of them.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone

import dlt

from vbc_source.audio.bucket import Bucket
from vbc_source.errors import VbcError
from vbc_source.load.ledgers import find_last_event
from vbc_source.load.ledgers.custody import Head, write_canonical
from vbc_source.recordings import escape

log = logging.getLogger(__name__)

HEADS = "custody/heads"
MOST_BYTES = 10_000  # of one head


@dataclass(frozen=True, slots=True)
class StoredHead:
    """A head as the bucket has it; `day` is the name of its object."""

    chain: str
    day: str
    sequence: int
    hash: str
    body: bytes


def heads_folder(chain: str) -> str:
    """Return the folder of a chain's heads."""
    return f"{HEADS}/{escape(chain)}"


def store_head(bucket: Bucket, chain: str, head: Head, now: datetime) -> bool:
    """Store the head of a chain, unless the bucket has one of this day; return whether it was stored."""
    day = now.astimezone(timezone.utc).strftime("%Y-%m-%d")
    key = f"{heads_folder(chain)}/{day}.json"
    if bucket.size(key) is not None:
        return False
    fields = {"chain": chain, "sequence": head.sequence, "hash": head.hash, "stored_at": now}
    bucket.put_bytes(f"{write_canonical(fields)}\n".encode(), key, "application/json")
    bucket.sync([bucket.uri(key)])
    return True


def store_if_new(bucket: Bucket, pipeline: dlt.Pipeline, before: Head | None) -> None:
    """Store the head of a pipeline's chain, once a day, where something was loaded since; else warn."""
    head = find_last_event(pipeline)
    if head is None or head == before:
        return
    try:
        store_head(bucket, pipeline.pipeline_name, head, datetime.now(timezone.utc))
    except VbcError as error:
        log.warning("the head of the chain of custody is not stored; the next run stores it: %s", error)


def list_chains(bucket: Bucket) -> list[str]:
    """List the folders of chains that have a head in the bucket."""
    return sorted(bucket.list_sizes(HEADS))


def read_heads(bucket: Bucket, folder: str) -> Iterator[StoredHead | str]:
    """Read the heads in a chain's folder, oldest first; the address of one that is not readable."""
    place = f"{HEADS}/{folder}"
    for name, size in sorted(bucket.list_sizes(place).items()):
        key = f"{place}/{name}"
        # whoever can write to the bucket can put anything there
        body = b"".join(bucket.read_range(key, 0, min(size, MOST_BYTES)))
        try:
            fields = json.loads(body)
            yield StoredHead(
                str(fields["chain"]),
                name.removesuffix(".json"),
                int(fields["sequence"]),
                str(fields["hash"]),
                body,
            )
        except (ValueError, KeyError, TypeError):
            yield bucket.uri(key)
