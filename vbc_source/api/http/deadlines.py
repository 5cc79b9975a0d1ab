"""Deadlines of whole responses.

The time-outs of a socket hold between two bytes, so a server that sends a byte a second is never too slow.
One thread looks at the requests in flight, and shuts down the connection of one that takes too long. The
thread that waits for bytes, of the headers, of a proxy's response or of the body, then gets an error at once.
"""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from functools import cache
from typing import Any

from requests.adapters import HTTPAdapter

LOOK_SECONDS = 0.5  # how often the thread looks
IDLE_LOOKS = 20  # looks without a request in flight, after which the thread ends

# urllib3 opens connections deep inside a request, in the thread that sends it: the thread leads to the watch
_entered = threading.local()


class Deadlines:
    """The deadline of a client's requests: `seconds` for a response, or for a part of a stream."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._lock = threading.Lock()
        self._watched: set[Watch] = set()
        self._thread: threading.Thread | None = None

    def add(self, watch: Watch) -> None:
        """Start to watch a request."""
        with self._lock:
            self._watched.add(watch)
            if self._thread is None or not self._thread.is_alive():  # none after a fork
                self._thread = threading.Thread(target=self._look, name="vbc-deadlines", daemon=True)
                self._thread.start()

    def remove(self, watch: Watch) -> None:
        """Stop watching a request."""
        with self._lock:
            self._watched.discard(watch)

    def _look(self) -> None:
        idle, pause = 0, min(LOOK_SECONDS, self.seconds / 4)
        while True:
            time.sleep(pause)
            now = time.monotonic()
            with self._lock:
                late = [watch for watch in self._watched if watch.ends_at <= now]
                for watch in late:
                    watch.expire()
                idle = 0 if self._watched else idle + 1
                # with the lock in hand: `add` finds this thread at work, or starts another one
                if idle > IDLE_LOOKS:
                    self._thread = None
                    return


class Watch:
    """The deadline of one request, or of each part of a stream: it runs while the context is entered.

    Attributes:
        ends_at: When the request is cut off, by the monotonic clock.
        expired: Whether it was cut off, or failed once its time was over.
    """

    def __init__(self, deadlines: Deadlines) -> None:
        self.ends_at, self.expired = float("inf"), False
        self._deadlines = deadlines
        self._socket: socket.socket | None = None

    def __enter__(self) -> Watch:
        self.ends_at = time.monotonic() + self._deadlines.seconds
        _entered.watch = self
        self._deadlines.add(self)
        return self

    def __exit__(self, *error: object) -> None:
        self._deadlines.remove(self)
        _entered.watch = None
        # the socket's own time-out, as long as the deadline, may come before the thread looks
        if error[0] is not None and time.monotonic() >= self.ends_at:
            self.expired = True

    def use(self, connection: socket.socket) -> None:
        """Note the connection that the request uses now; raises TimeoutError if it was cut off already."""
        if self.expired:
            connection.close()
            raise TimeoutError
        self._socket = connection

    def expire(self) -> None:
        """Cut the request off: shut its connection down, which wakes the thread that reads from it."""
        self.expired = True
        if self._socket is not None:
            with suppress(OSError, TypeError):  # closed meanwhile
                # not SSLSocket.shutdown, which would take the reader's TLS state away
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


class DeadlineAdapter(HTTPAdapter):
    """An adapter whose connections tell the entered watch which socket they use, through proxies too."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the pools of direct connections."""
        super().init_poolmanager(*args, **kwargs)
        _watch_pools(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        """Return the pools of connections through a proxy."""
        return _watch_pools(super().proxy_manager_for(*args, **kwargs))


def _watch_pools(manager: Any) -> Any:
    pools = manager.pool_classes_by_scheme
    manager.pool_classes_by_scheme = {scheme: _watched(pool) for scheme, pool in pools.items()}
    return manager


@cache
def _watched(pool: Any) -> Any:
    if hasattr(pool, "is_watched"):
        return pool

    # the base is that of urllib3 for http, https or SOCKS
    class Connection(pool.ConnectionCls):  # type: ignore[misc]
        def _new_conn(self) -> Any:
            return _use(super()._new_conn())

        def _tunnel(self) -> None:
            super()._tunnel()
            _use(self.sock)  # TLS must not begin on one that was cut off in the proxy's response

        def connect(self) -> None:
            super().connect()
            _use(self.sock)  # that of TLS now

        def request(self, *args: Any, **kwargs: Any) -> Any:
            _use(self.sock)  # one that was kept open
            return super().request(*args, **kwargs)

    return type(pool.__name__, (pool,), {"ConnectionCls": Connection, "is_watched": True})


def _use(connection: Any) -> Any:
    watch = getattr(_entered, "watch", None)
    if watch is not None and connection is not None:
        watch.use(connection)
    return connection
