"""The users of an account, and their on-demand recordings."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from random import Random
from typing import Any

from vbc_source.emulator.calls import Call, newest_calls
from vbc_source.emulator.profiles import FIRST_EXTENSION, list_extensions, make_profile
from vbc_source.emulator.recordings import Recordings
from vbc_source.emulator.rows import Site
from vbc_source.emulator.scene import Scene

Fields = dict[str, Any]


@dataclass(slots=True)
class _User:
    """A user, whether still there or not.

    Attributes:
        row: As Provisioning lists it.
        listed: Whether Provisioning lists it.
        known: Whether the Call Recording API knows it.
        forbidden: Whether the API user may not see it.
    """

    row: Fields
    listed: bool = True
    known: bool = True
    forbidden: bool = False


@dataclass(frozen=True, slots=True)
class _Plan:
    """Recordings that are not made before somebody looks: how many, over how many days, until when."""

    count: int
    days: int
    until: float


class Users:
    """The users of one account, in the order in which they came; safe to use from several threads.

    Ids are given as numbers or text alike.
    """

    def __init__(self, scene: Scene, account_id: str, seed: int, first_id: int) -> None:
        """Begin with nobody.

        Args:
            scene: Where links point, the time and the lock.
            account_id: Whose users they are.
            seed: Equal seeds invent equal users and recordings.
            first_id: Of the first user, for whom ``self`` stands.
        """
        self._scene = scene
        self._account_id = account_id
        self._seed = seed
        self._rng = Random(f"{seed}/users")
        self._api_user = str(first_id)
        self._next_id = first_id
        self._next_extension = FIRST_EXTENSION
        self._users: dict[str, _User] = {}
        self._plans: dict[str, _Plan] = {}
        self._stores: dict[str, Recordings] = {}

    @property
    def api_user(self) -> str:
        """The id of the user for whom ``self`` stands."""
        return self._api_user

    def __len__(self) -> int:
        """Count the users whom Provisioning lists."""
        with self._scene.lock:
            return sum(user.listed for user in self._users.values())

    def add(
        self,
        id: int | str | None = None,  # noqa: A002 - the API's name
        recordings: int = 0,
        days: int = 365,
        **fields: Any,
    ) -> Fields:
        """Add a user.

        Args:
            id: Made up when not given.
            recordings: How many on-demand recordings the user has.
            days: Over how many days these are spread, on average, until now.
            **fields: Kept as they are given; the others are made up.

        Returns:
            The row as Provisioning lists it.

        Raises:
            ValueError: There is a user of that id.
        """
        with self._scene.lock:
            return self._add(id, fields, _Plan(recordings, days, self._scene.clock()))

    def invent(self, counts: list[int], days: int, until: float, **first: Any) -> None:
        """Add as many users as there are counts of recordings; the first one has the given fields."""
        with self._scene.lock:
            for count in counts:
                self._add(None, {} if self._users else first, _Plan(count, days, until))

    def change(self, id: int | str, **fields: Any) -> Fields:  # noqa: A002
        """Change fields of a user and return the row as it is now.

        Raises:
            KeyError: There is none of that id.
        """
        with self._scene.lock:
            user = self._users[str(id)]
            user.row = {**user.row, **deepcopy(fields)}
            return deepcopy(user.row)

    def remove(self, id: int | str) -> None:  # noqa: A002
        """Let a user leave: no longer in Provisioning, nor known to the Call Recording API.

        Raises:
            KeyError: There is none of that id.
        """
        self._set(id, listed=False, known=False)

    def vanish(self, id: int | str) -> None:  # noqa: A002
        """Let the Call Recording API no longer know a user whom Provisioning still lists.

        Raises:
            KeyError: There is none of that id.
        """
        self._set(id, known=False)

    def hide(self, id: int | str) -> None:  # noqa: A002
        """Let Provisioning no longer list a user whom the Call Recording API still knows.

        Raises:
            KeyError: There is none of that id.
        """
        self._set(id, listed=False)

    def forbid(self, id: int | str) -> None:  # noqa: A002
        """Let the API user no longer see a user's recordings and jobs.

        Raises:
            KeyError: There is none of that id.
        """
        self._set(id, forbidden=True)

    def allow(self, id: int | str) -> None:  # noqa: A002
        """Take back ``forbid``.

        Raises:
            KeyError: There is none of that id.
        """
        self._set(id, forbidden=False)

    def all(self) -> list[Fields]:
        """Copy the rows as Provisioning lists them now."""
        with self._scene.lock:
            return [deepcopy(user.row) for user in self._users.values() if user.listed]

    def extensions(self) -> list[Fields]:
        """Make the rows of Provisioning's list of extensions."""
        return [extension for row in self.all() for extension in list_extensions(row)]

    def recordings(self, id: int | str) -> Recordings:  # noqa: A002
        """Find a user's on-demand recordings, also of one who has left.

        Raises:
            KeyError: There was never one of that id.
        """
        with self._scene.lock:
            key = str(id)
            if key not in self._stores:
                self._stores[key] = self._make_store(key, self._plans[key])
            return self._stores[key]

    def resolve(self, id: str) -> str:  # noqa: A002
        """Put the API user's id for ``self``."""
        return self._api_user if id == "self" else id

    def knows(self, id: str) -> bool:  # noqa: A002
        """Tell whether the Call Recording API knows a user."""
        with self._scene.lock:
            return id in self._users and self._users[id].known

    def forbids(self, id: str) -> bool:  # noqa: A002
        """Tell whether the API user may not see a user."""
        with self._scene.lock:
            return id in self._users and self._users[id].forbidden

    def pick(self, rng: Random) -> str | None:
        """Draw a user whom Provisioning lists, other than the API user."""
        with self._scene.lock:
            keys = [key for key, user in self._users.items() if user.listed and key != self._api_user]
            return rng.choice(keys) if keys else None

    def move(self) -> None:
        """Let all links point to where the scene is now."""
        with self._scene.lock:
            for store in self._stores.values():
                store.move(self._scene.base_url)

    def _set(self, id: int | str, **states: bool) -> None:  # noqa: A002
        with self._scene.lock:
            user = self._users[str(id)]
            for name, value in states.items():
                setattr(user, name, value)

    def _add(self, id: int | str | None, fields: Fields, plan: _Plan) -> Fields:  # noqa: A002
        if id is None:
            while str(self._next_id) in self._users:
                self._next_id += 1
            id = self._next_id  # noqa: A001
        key = str(id)
        if key in self._users and self._users[key].listed:
            raise ValueError(f"there is a user {key}")
        row = make_profile(self._rng, id, self._next_extension)
        self._next_extension += max(1, len(row["extensions"]))
        row.update(deepcopy(fields))
        self._next_id += 1 + int(self._rng.random() * 9)
        self._users[key] = _User(row)
        self._plans[key] = plan
        self._stores.pop(key, None)
        return deepcopy(row)

    def _make_store(self, key: str, plan: _Plan) -> Recordings:
        path = f"{self._account_id}/{key}"
        site = Site(
            self._scene.base_url,
            f"/accounts/{self._account_id}/users/{key}/call_recordings",
            f"/audio/user_recording/{path}",
            f"user {key}",
        )
        seed = zlib.crc32(f"{self._seed}/{path}".encode())
        store = Recordings(site, self._scene.clock, self._scene.lock, Random(f"{seed}/added"))
        store.load(self._make_calls(key, seed, plan))
        return store

    def _make_calls(self, key: str, seed: int, plan: _Plan) -> Iterator[Call]:
        extensions = self._users[key].row.get("extensions") or []
        numbers = [str(extension.get("extension_number")) for extension in extensions[:1]]
        own = [int(number) for number in numbers if number.isdecimal()]
        for call in newest_calls(seed, plan.count, plan.days, plan.until):
            if own and call.fields["extensions"]:
                call.fields["extensions"] = own + call.fields["extensions"][1:]
            yield call
