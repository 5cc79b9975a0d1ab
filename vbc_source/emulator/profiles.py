"""Invented users as Provisioning shows them, and their extensions."""

from __future__ import annotations

import zlib
from random import Random
from typing import Any

from vbc_source.emulator.people import pick_number, pick_person

Fields = dict[str, Any]

FIRST_EXTENSION = 1001
_TAGS = ("Direct line", "Support", "Sales", None)
_CONTACTS = ("Work", "Mobile", "Home")


def _make_extension(rng: Random, number: int) -> Fields:
    dids = [
        {"phone_number": str(pick_number(rng)), "custom_tag": rng.choice(_TAGS)}
        for _ in range(rng.choice((0, 1, 1, 1, 2)))
    ]
    return {"dids": dids, "extension_number": str(number)}


def make_profile(rng: Random, id: int | str, extension: int) -> Fields:  # noqa: A002 - the API's name
    """Invent a user.

    Args:
        rng: Where chance comes from.
        id: Of the user.
        extension: The first free extension number; the user takes it and in rare cases the next one
            too, or, if it is not the account's first, none at all.

    Returns:
        A row of Provisioning's list of users.
    """
    first, last = pick_person(rng)
    chance = rng.random()
    count = 2 if chance < 0.1 else 0 if chance < 0.2 and extension > FIRST_EXTENSION else 1
    kinds = _CONTACTS[: rng.choice((0, 1, 1, 2, 3))]
    return {
        "email": f"{first}.{last}.{extension}@example.com".lower(),
        "login_name": f"{first[0]}{last}{extension}".lower(),
        "first_name": first,
        "last_name": last,
        "id": id,
        "contact_numbers": [{"type": kind, "value": str(pick_number(rng))} for kind in kinds],
        "extensions": [_make_extension(rng, extension + place) for place in range(count)],
    }


def list_extensions(user: Fields) -> list[Fields]:
    """Show a user's extensions as rows of Provisioning's list of extensions."""
    names = ("id", "email", "login_name", "first_name", "last_name")
    basics = {name: user.get(name) for name in names}
    return [_show_extension(extension, basics) for extension in user.get("extensions") or []]


def _show_extension(extension: Fields, user: Fields) -> Fields:
    number = extension.get("extension_number")
    noise = zlib.crc32(f"{user['id']}/{number}".encode())
    sip = f"VH{noise % 1_000_000:06d}"
    return {
        "extension_number": number,
        "user": dict(user),
        "location_id": 145214 + noise % 3,
        "vtt_enabled": noise % 2 == 0,
        "dnd_enabled": noise % 7 == 0,
        "caller_id": f"{user['first_name']} {user['last_name']}",
        "external_id": f"ext{noise:010d}",
        "block_caller_id": noise % 11 == 0,
        "dids": extension.get("dids"),
        "extension_handsets": [{"handset_name": f"line1-{sip}", "sip_id": sip}],
    }
