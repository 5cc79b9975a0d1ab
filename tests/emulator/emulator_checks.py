"""Reads faults, for the tests of this folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from xml.etree import ElementTree

import requests
from emulator_caller import Caller

Check = Callable[[Caller], None]


class Checks(dict[str, Check]):
    """What to look for, by the name of the fault."""

    def see(self, *names: str) -> Callable[[Check], Check]:
        def register(function: Check) -> Check:
            self.update(dict.fromkeys(names, function))
            return function

        return register


def find_time(text: str) -> float:
    return datetime.strptime(text, "%Y-%b-%d %H:%M:%S%z UTC").timestamp()


def read_fault(answer: requests.Response) -> dict[str, str]:
    if answer.headers["content-type"].startswith("application/xml"):
        root = ElementTree.fromstring(answer.text)
        assert root.tag.endswith("}fault")
        return {child.tag.split("}")[1]: child.text or "" for child in root}
    body = json.loads(answer.text)
    if "fault" in body:
        assert isinstance(body["fault"]["code"], int)
        body = body["fault"]
    else:
        assert isinstance(body["code"], str)
    return {name: str(value) for name, value in body.items()}
