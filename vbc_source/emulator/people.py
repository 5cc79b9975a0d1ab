"""Invented callers, numbers and names of a call centre that does not exist."""

from __future__ import annotations

from random import Random

DIRECTIONS = ("INBOUND", "OUTBOUND", "INTRA_PBX")
EXTENSIONS = range(1001, 1025)
RULES = (449, 1989, 2012, 2377, 3105)
COMPANY_NUMBERS = (17325550100, 17325550101, 18485550102, 19085550103)

# 1 XXX 555 01XX is set aside for fiction in every area code.
_AREAS = (
    201, 212, 215, 303, 312, 404, 415, 469, 503, 512, 602, 617, 646, 702, 703, 713,
    718, 732, 757, 773, 786, 808, 813, 848, 858, 904, 908, 916, 917, 972,
)  # fmt: skip
_FIRST = (
    "ADA", "BRAM", "CLEO", "DORA", "EMIL", "FAYE", "GUS", "HEDY", "IDA", "JONAS", "KIRA", "LEV",
    "MARA", "NILS", "OLGA", "PIP", "QUINN", "RHEA", "SVEN", "TESS", "UMA", "VITO", "WREN", "YARA",
)  # fmt: skip
_LAST = (
    "ASHDOWN", "BRIGHTWELL", "CASTLEMOOR", "DUNMERE", "ELDERFIELD", "FENWICKE", "GREYSTOKE",
    "HOLLOWAY", "INGLESIDE", "KETTLEBURN", "LARKSPUR", "MOSSGROVE", "NORTHGATE", "OAKHURST",
    "PENHALLOW", "QUILLFEATHER", "ROOKWOOD", "SILVERTON", "THORNBURY", "UNDERHILL", "WINTERBOURNE",
)  # fmt: skip


def pick_number(rng: Random) -> int:
    """Draw a telephone number that belongs to nobody."""
    return (
        10_000_000_000
        + _AREAS[int(rng.random() * len(_AREAS))] * 10_000_000
        + 5_550_100
        + int(rng.random() * 100)
    )


def pick_name(rng: Random) -> str | None:
    """Draw a caller's name as networks show it; one in six is not known."""
    if rng.random() < 1 / 6:
        return None
    return f"{_FIRST[int(rng.random() * len(_FIRST))]} {_LAST[int(rng.random() * len(_LAST))]}"


def pick_person(rng: Random) -> tuple[str, str]:
    """Draw a first and a last name as a person writes them."""
    return rng.choice(_FIRST).title(), rng.choice(_LAST).title()


def pick_caller(rng: Random, number: int) -> int | str:
    """Decide how the outside number of an inbound call is shown."""
    chance = rng.random()
    if chance < 0.05:
        return "Anonymous"
    return str(number) if chance < 0.12 else number


def pick_extensions(rng: Random) -> list[int] | None:
    """Draw the one or two extensions of a call, which now and then are unknown."""
    chance = rng.random()
    if chance < 0.04:
        return None if chance < 0.02 else []
    first = EXTENSIONS[int(rng.random() * len(EXTENSIONS))]
    if chance < 0.7:
        return [first]
    second = EXTENSIONS[int(rng.random() * len(EXTENSIONS))]
    return [first] if second == first else [first, second]


def pick_rules(rng: Random) -> list[int] | None:
    """Draw the rules that had a call recorded."""
    chance = rng.random()
    if chance < 0.04:
        return None
    first = int(rng.random() * len(RULES))
    count = 1 if chance < 0.65 else 2 if chance < 0.9 else 3
    return [RULES[(first + place) % len(RULES)] for place in range(count)]
