"""Keeps out what dlt and Arrow would import where it is installed, and what loading has no use for."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa


def keep_imports_lean() -> None:
    """Spare fifty megabytes and most of a second: without pandas and SQLAlchemy.

    Arrow imports pandas for the first array it makes; dlt imports SQLAlchemy to write an address down,
    for which it has code of its own where that is missing. Whoever wants them can import them as before.
    """
    with _without("pandas"):
        pa.array([0])
    with _without("sqlalchemy"):
        importlib.import_module("dlt.common.libs.sql_alchemy_compat")


@contextmanager
def _without(name: str) -> Iterator[None]:
    finder: Any = _Refusing(name)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _Refusing:
    """Has one module count as not installed."""

    def __init__(self, name: str) -> None:
        self._name = name

    def find_spec(self, name: str, *_: object) -> None:
        """Refuse that module, and leave the others to the finders behind."""
        if name == self._name:
            raise ImportError(name)
