"""Destinations that resolve their configuration once, not for each client that dlt opens."""

from __future__ import annotations

import time
from dataclasses import fields
from typing import Any

from dlt.common.destination import Destination

SECONDS_KEPT = 60  # credentials of an assumed role last a quarter of an hour at least


class CachedConfiguration(Destination[Any, Any]):
    """A base class to put before a destination of dlt.

    dlt resolves the whole configuration for each client, a dozen times a run, and whenever it reads
    capabilities. With `caches_configuration` that is done once a minute for each initial one. Your own
    pipeline may be run with other settings or credentials each time.
    """

    # no __init__ here: dlt reads the defaults of a destination's arguments from its signature
    caches_configuration = False  # set by the commands, whose settings do not change while they work
    _partial: Any = None
    _resolved: tuple[tuple[float, dict[str, Any], Any], ...] = ()

    def configuration(self, initial_config: Any, accept_partial: bool = False) -> Any:
        """Resolve the configuration; the partial one, which dlt reads capabilities from, only once."""
        resolve = super().configuration
        if accept_partial:
            if self._partial is None:
                self._partial = resolve(initial_config, accept_partial=True)
            return self._partial
        if not self.caches_configuration or initial_config is None or initial_config.is_resolved():
            return resolve(initial_config)
        asked = {field.name: getattr(initial_config, field.name, None) for field in fields(initial_config)}
        oldest = time.monotonic() - SECONDS_KEPT
        self._resolved = tuple(kept for kept in self._resolved if kept[0] > oldest)
        config = next((config for _, before, config in self._resolved if before == asked), None)
        if config is None:
            config = resolve(initial_config)
            self._resolved += ((time.monotonic(), asked, config),)
        return self._share(config)

    def _share(self, config: Any) -> Any:
        """Return a kept configuration for one more client."""
        return config
