"""Generated numbers, names and users, with their extensions."""

from __future__ import annotations

import zlib
from random import Random
from typing import Any

Fields = dict[str, Any]

FIRST_EXTENSION = 1001

_AREA_CODES = (
    201, 212, 215, 303, 312, 404, 415, 469, 503, 512, 602, 617, 646, 702, 703, 713,
    718, 732, 757, 773, 786, 808, 813, 848, 858, 904, 908, 916, 917, 972,
)  # fmt: skip
_FIRST_NAMES = (
    "ADA", "BRAM", "CLEO", "DORA", "EMIL", "FAYE", "GUS", "HEDY", "IDA", "JONAS", "KIRA", "LEV",
    "MARA", "NILS", "OLGA", "PIP", "QUINN", "RHEA", "SVEN", "TESS", "UMA", "VITO", "WREN", "YARA",
)  # fmt: skip
_LAST_NAMES = (
    "ASHDOWN", "BRIGHTWELL", "CASTLEMOOR", "DUNMERE", "ELDERFIELD", "FENWICKE", "GREYSTOKE",
    "HOLLOWAY", "INGLESIDE", "KETTLEBURN", "LARKSPUR", "MOSSGROVE", "NORTHGATE", "OAKHURST",
    "PENHALLOW", "QUILLFEATHER", "ROOKWOOD", "SILVERTON", "THORNBURY", "UNDERHILL", "WINTERBOURNE",
)  # fmt: skip
_TAGS = ("Direct line", "Support", "Sales", None)
_CONTACT_TYPES = ("Work", "Mobile", "Home")


def draw_number(rng: Random) -> int:
    """Draw a fictional telephone number: 1 XXX 555 01XX is reserved in every area code."""
    area_code = _AREA_CODES[int(rng.random() * len(_AREA_CODES))]
    return 10_000_000_000 + area_code * 10_000_000 + 5_550_100 + int(rng.random() * 100)


def draw_caller_name(rng: Random) -> str | None:
    """Draw a name as telephone networks show it; one in six is unknown."""
    if rng.random() < 1 / 6:
        return None
    first = _FIRST_NAMES[int(rng.random() * len(_FIRST_NAMES))]
    # Random.choice takes twice as long, and would change the generated data of every seed.
    return f"{first} {_LAST_NAMES[int(rng.random() * len(_LAST_NAMES))]}"


def _make_extension(rng: Random, number: int) -> Fields:
    dids = [
        {"phone_number": str(draw_number(rng)), "custom_tag": rng.choice(_TAGS)}
        for _ in range(rng.choice((0, 1, 1, 1, 2)))
    ]
    return {"dids": dids, "extension_number": str(number)}


def make_user(rng: Random, id: int | str, extension: int) -> Fields:  # noqa: A002 - the API's name
    """Generate a user.

    Args:
        rng: Source of random values.
        id: Id of the user.
        extension: First free extension number. The user takes one extension, in one of ten cases two,
            and in one of ten none, unless it is the first extension of the account.

    Returns:
        A row of Provisioning's list of users.
    """
    first, last = rng.choice(_FIRST_NAMES).title(), rng.choice(_LAST_NAMES).title()
    chance = rng.random()
    count = 2 if chance < 0.1 else 0 if chance < 0.2 and extension > FIRST_EXTENSION else 1
    types = _CONTACT_TYPES[: rng.choice((0, 1, 1, 2, 3))]
    return {
        "email": f"{first}.{last}.{extension}@example.com".lower(),
        "login_name": f"{first[0]}{last}{extension}".lower(),
        "first_name": first,
        "last_name": last,
        "id": id,
        "contact_numbers": [{"type": kind, "value": str(draw_number(rng))} for kind in types],
        "extensions": [_make_extension(rng, extension + index) for index in range(count)],
    }


def list_extensions(user: Fields) -> list[Fields]:
    """Return the extensions of a user as rows of Provisioning's list of extensions."""
    names = ("id", "email", "login_name", "first_name", "last_name")
    owner = {name: user.get(name) for name in names}
    return [_make_extension_row(extension, owner) for extension in user.get("extensions") or []]


def _make_extension_row(extension: Fields, user: Fields) -> Fields:
    number = extension.get("extension_number")
    # A checksum, not a random number: the row must be the same in every response.
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
