"""How far the runs have come that together read all lists once."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from vbc_source.extract.lists import ListOwner


@dataclass(slots=True)
class Checkpoint:
    """What is read of a round, and what is left.

    It counts only where the state that was saved bears its mark: a run that failed saved none.

    Attributes:
        done: lists that were read to their end.
        reached: up to where the others were read and proven.
        mark: of the last run that left something for the next.
    """

    done: set[ListOwner] = field(default_factory=set)
    reached: dict[ListOwner, datetime] = field(default_factory=dict)
    mark: str = ""

    def recall(self, saved: str) -> tuple[set[ListOwner], dict[ListOwner, datetime]]:
        """Give copies of both, empty where state does not bear the mark."""
        return (set(self.done), dict(self.reached)) if saved and saved == self.mark else (set(), {})
