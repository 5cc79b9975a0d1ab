"""Checks of faults by name, and a parser of fault bodies."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from xml.etree import ElementTree

import requests
from emulator_client import Client

Check = Callable[[Client], None]


class Checks(dict[str, Check]):
    """Functions that check a fault, by its name."""

    def add(self, *names: str) -> Callable[[Check], Check]:
        def register(function: Check) -> Check:
            self.update(dict.fromkeys(names, function))
            return function

        return register


def find_time(text: str) -> float:
    return datetime.strptime(text, "%Y-%b-%d %H:%M:%S%z UTC").timestamp()


def read_fault(response: requests.Response) -> dict[str, str]:
    if response.headers["content-type"].startswith("application/xml"):
        root = ElementTree.fromstring(response.text)
        assert root.tag.endswith("}fault")
        return {child.tag.split("}")[1]: child.text or "" for child in root}
    body = json.loads(response.text)
    if "fault" in body:
        assert isinstance(body["fault"]["code"], int)
        body = body["fault"]
    else:
        assert isinstance(body["code"], str)
    return {name: str(value) for name, value in body.items()}
