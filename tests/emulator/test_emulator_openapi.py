"""Answers against the vendor's OpenAPI file."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
import yaml
from emulator_caller import LIST, NOON, Caller, Clock, Serve
from jsonschema import Draft4Validator

SPEC = Path(__file__).parents[3] / "shared/api/call-recording.yml"

pytestmark = pytest.mark.skipif(not SPEC.exists(), reason=f"the vendor's OpenAPI file is not at {SPEC}")

# Where the vendor's own examples and public clients' data contradict the vendor's schema.
WIDER = {
    "caller_id": ["string", "integer"],
    "cnam": ["string", "null"],
    "end": ["string", "null"],
    "extensions": ["array", "null"],
    "rule_ids": ["array", "null"],
}


@pytest.fixture(scope="module")
def spec() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(SPEC.read_text(encoding="utf-8"))
    fields = loaded["components"]["schemas"]["CompanyCallRecording"]["properties"]
    for name, types in WIDER.items():
        fields[name]["type"] = types
    fields["extensions"]["items"]["type"] = ["string", "integer"]
    return loaded


@pytest.fixture(scope="module")
def caller(serve_module: Serve) -> Caller:
    return serve_module(
        Clock(NOON + 86_400), recordings=1000, until=datetime.fromtimestamp(NOON, timezone.utc)
    )


def _check(spec: dict[str, Any], name: str, body: object) -> None:
    schema = {"$ref": f"#/components/schemas/{name}", "components": spec["components"]}
    problems = [f"{list(error.path)}: {error.message}" for error in Draft4Validator(schema).iter_errors(body)]
    assert problems == []


def test_a_list_is_as_described(spec: dict[str, Any], caller: Caller) -> None:
    body = caller.get_list(page_size=1000).json()
    assert len(body["_embedded"]["recordings"]) == 1000
    _check(spec, "CompanyCallRecordingsHalResponse", body)
    assert set(body) == set(spec["components"]["schemas"]["CompanyCallRecordingsHalResponse"]["properties"])


def test_a_middle_page_has_every_link_described(spec: dict[str, Any], caller: Caller) -> None:
    body = caller.get_list(page=2).json()
    described = spec["components"]["schemas"]["CompanyCallRecordingsHalResponse"]["properties"]["_links"]
    assert set(body["_links"]) == set(described["properties"])


def test_a_recording_is_as_described(spec: dict[str, Any], caller: Caller) -> None:
    row = caller.rows()[0]
    body = caller.send("GET", f"{LIST}/{row['id']}").json()
    _check(spec, "CompanyCallRecordingHalResponse", body)
    assert set(body) - {"extension"} == set(
        spec["components"]["schemas"]["CompanyCallRecording"]["properties"]
    )


def test_every_parameter_described_is_understood(spec: dict[str, Any], caller: Caller) -> None:
    refs = spec["paths"]["/api/accounts/{account_id}/company_call_recordings"]["get"]["parameters"]
    described = [spec["components"]["parameters"][ref["$ref"].rsplit("/", 1)[1]] for ref in refs]
    values = {item["name"]: item["example"] for item in described if item["in"] == "query"}
    values.update({"start:gte": "2019-01-01T00:00:00+0000"})
    assert len(values) == 13
    for name, value in values.items():
        assert caller.get_list(**{name: value}).status_code == 200, name
    assert caller.get_list(call_id=values["call_id"]).json()["total_items"] == 0


def test_the_statuses_described_are_given(spec: dict[str, Any], caller: Caller) -> None:
    operations = spec["paths"]["/api/accounts/{account_id}/company_call_recordings/{recording_id}"]
    added = caller.gateway.company.add()
    for method in ("get", "delete"):
        statuses = {
            caller.send(method.upper(), f"{LIST}/{added['id']}").status_code,
            caller.send(method.upper(), f"{LIST}/1").status_code,
            caller.send(method.upper(), f"{LIST}/1", headers={"authorization": "Bearer no"}).status_code,
            caller.send(method.upper(), LIST.replace("self", "1") + "/1").status_code,
        }
        assert {str(status) for status in statuses} == set(operations[method]["responses"])
