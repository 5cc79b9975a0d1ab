"""The `vbc` command: parses arguments and calls the public API."""

from __future__ import annotations

from vbc_source.cli.app import main

__all__ = ["main"]
