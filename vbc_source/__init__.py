"""A dlt source for the call recordings of Vonage Business Communications."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vbc_source.config import VbcCredentials
    from vbc_source.errors import VbcError
    from vbc_source.source import vbc_source

__all__ = ["VbcCredentials", "VbcError", "vbc_source"]

_HOME = {"VbcCredentials": "api.auth", "VbcError": "errors", "vbc_source": "source"}


def __getattr__(name: str) -> Any:
    # imported when asked for: dlt takes a third of a second, which `vbc --help` should not
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
