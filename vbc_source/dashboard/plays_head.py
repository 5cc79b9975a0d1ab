"""The head of the chain of plays, in the archive's bucket: what was before it cannot be cut off unseen."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import date, datetime, timezone

from vbc_source.audio.bucket import Bucket
from vbc_source.audio.custody_heads import store_head
from vbc_source.config import load_audio_config
from vbc_source.dashboard.plays import PlaysLedger
from vbc_source.errors import VbcError
from vbc_source.load.failures import explaining

log = logging.getLogger(__name__)


class PlaysHead:
    """Stores the head of a ledger of plays with the first play of a day. Thread-safe."""

    def __init__(
        self, plays: PlaysLedger, clock: Callable[[], datetime] = lambda: datetime.now(timezone.utc)
    ) -> None:
        self._plays, self._clock = plays, clock
        self._lock, self._day = threading.Lock(), date.min

    def store(self, bucket_url: str) -> None:
        """Store the head in a bucket, unless it has that of today; a dashboard that may not write warns."""
        now = self._clock()
        with self._lock:
            if self._day == now.date():
                return
            self._day = now.date()  # one attempt a day: a bucket that refuses must not delay each play
        try:
            with explaining():
                config = load_audio_config(bucket_url=bucket_url)
                store_head(
                    Bucket(config.bucket, config.storage), self._plays.chain, self._plays.find_head(), now
                )
        except VbcError as error:
            log.warning("the head of the chain of plays is not stored: %s", error)
