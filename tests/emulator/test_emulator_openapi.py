"""Responses match the OpenAPI files of the vendor."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
import yaml
from emulator_client import LIST, NOON, PROVISIONING, USERS, Client, Clock, Serve, users_list

SPECS = Path(__file__).parents[3] / "shared/api"

pytestmark = pytest.mark.skipif(not SPECS.exists(), reason=f"the vendor's OpenAPI files are not at {SPECS}")

# Types that occur in the vendor's examples or in public clients, but not in the vendor's schema.
WIDER = {
    "caller_id": ["string", "integer"],
    "cnam": ["string", "null"],
    "end": ["string", "null"],
    "extensions": ["array", "null"],
    "rule_ids": ["array", "null"],
}


@pytest.fixture(scope="module")
def spec() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((SPECS / "call-recording.yml").read_text(encoding="utf-8"))
    schemas = loaded["components"]["schemas"]
    for schema in ("CompanyCallRecording", "OnDemandCallRecording"):
        fields = schemas[schema]["properties"]
        for name, types in WIDER.items():
            fields[name]["type"] = types
        fields["extensions"]["items"]["type"] = ["string", "integer"]
    for name in ("download_url", "valid_until"):  # while a job is not complete
        schemas["ExportJob"]["properties"][name]["type"] = ["string", "null"]
    return loaded


@pytest.fixture(scope="module")
def provisioning() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((SPECS / "provisioning.yml").read_text(encoding="utf-8"))
    schemas = loaded["components"]["schemas"]
    # The description of the endpoint and its paging require a list, unlike the schema.
    rows = {"type": "array", "items": {"$ref": "#/components/schemas/EndUserRoute"}}
    schemas["EndUserRouteEmbeddedObject"]["properties"]["data"] = rows
    schemas["DID"]["properties"]["custom_tag"]["type"] = ["string", "null"]
    return loaded


@pytest.fixture(scope="module")
def reports() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((SPECS / "reports.yml").read_text(encoding="utf-8"))
    fields = loaded["components"]["schemas"]["CallLog"]["properties"]
    for name in [name for name in fields if name.startswith(("source_", "destination_"))] + ["custom_tag"]:
        fields[name]["type"] = [fields[name]["type"], "null"]  # a party outside of the account
    for name in ("from", "to"):
        fields[name]["type"] = ["string", "null"]
    return loaded


@pytest.fixture(scope="module")
def client(serve_module: Serve) -> Client:
    return serve_module(
        Clock(NOON + 86_400),
        recordings=1000,
        users=50,
        user_recordings=1000,
        until=datetime.fromtimestamp(NOON, timezone.utc),
    )


def _check(spec: dict[str, Any], name: str, body: object) -> None:
    from jsonschema import Draft4Validator

    schema = {"$ref": f"#/components/schemas/{name}", "components": spec["components"]}
    problems = [f"{list(error.path)}: {error.message}" for error in Draft4Validator(schema).iter_errors(body)]
    assert problems == []


@pytest.mark.slow
def test_list_matches_the_schema(spec: dict[str, Any], client: Client) -> None:
    body = client.get_list(page_size=1000).json()
    assert len(body["_embedded"]["recordings"]) == 1000
    _check(spec, "CompanyCallRecordingsHalResponse", body)
    assert set(body) == set(spec["components"]["schemas"]["CompanyCallRecordingsHalResponse"]["properties"])


def test_middle_page_has_every_documented_link(spec: dict[str, Any], client: Client) -> None:
    body = client.get_list(page=2).json()
    described = spec["components"]["schemas"]["CompanyCallRecordingsHalResponse"]["properties"]["_links"]
    assert set(body["_links"]) == set(described["properties"])


def test_recording_matches_the_schema(spec: dict[str, Any], client: Client) -> None:
    row = client.rows()[0]
    body = client.send("GET", f"{LIST}/{row['id']}").json()
    _check(spec, "CompanyCallRecordingHalResponse", body)
    assert set(body) - {"extension"} == set(
        spec["components"]["schemas"]["CompanyCallRecording"]["properties"]
    )


def test_every_documented_parameter_is_accepted(spec: dict[str, Any], client: Client) -> None:
    refs = spec["paths"]["/api/accounts/{account_id}/company_call_recordings"]["get"]["parameters"]
    described = [spec["components"]["parameters"][ref["$ref"].rsplit("/", 1)[1]] for ref in refs]
    values = {item["name"]: item["example"] for item in described if item["in"] == "query"}
    values.update({"start:gte": "2019-01-01T00:00:00+0000"})
    assert len(values) == 13
    for name, value in values.items():
        assert client.get_list(**{name: value}).status_code == 200, name
    assert client.get_list(call_id=values["call_id"]).json()["total_items"] == 0


def test_every_documented_status_is_returned(spec: dict[str, Any], client: Client) -> None:
    operations = spec["paths"]["/api/accounts/{account_id}/company_call_recordings/{recording_id}"]
    added = client.gateway.company.add()
    for method in ("get", "delete"):
        statuses = {
            client.send(method.upper(), f"{LIST}/{added['id']}").status_code,
            client.send(method.upper(), f"{LIST}/1").status_code,
            client.send(method.upper(), f"{LIST}/1", headers={"authorization": "Bearer no"}).status_code,
            client.send(method.upper(), LIST.replace("self", "1") + "/1").status_code,
        }
        assert {str(status) for status in statuses} == set(operations[method]["responses"])


def _properties(spec: dict[str, Any], name: str) -> set[str]:
    return set(spec["components"]["schemas"][name]["properties"])


def test_user_recordings_match_the_schema(spec: dict[str, Any], client: Client) -> None:
    users = client.gateway.users
    key = max((row["id"] for row in users.all()), key=lambda key: len(users.recordings(key)))
    body = client.get_list(users_list(key), page_size=100).json()
    assert len(body["_embedded"]["recordings"]) == 100
    _check(spec, "OnDemandCallRecordingsHalResponse", body)
    assert set(body) == _properties(spec, "OnDemandCallRecordingsHalResponse")
    row = client.send("GET", body["_embedded"]["recordings"][0]["_links"]["self"]["href"]).json()
    _check(spec, "OnDemandCallRecordingHalResponse", row)
    assert set(row) - {"extension"} == _properties(spec, "OnDemandCallRecording")


def test_export_matches_the_schema(spec: dict[str, Any], client: Client) -> None:
    schema = spec["components"]["schemas"]["Filters"]["properties"]
    filters = {name: field["example"] for name, field in schema.items()}
    assert len(filters) == 10
    for path in (LIST, users_list()):
        operation = spec["paths"]["/api/accounts/{account_id}/company_call_recordings/export"]["post"]
        response = client.send("POST", f"{path}/export", json=filters)
        assert str(response.status_code) in operation["responses"]
        assert set(response.json()) == _properties(spec, "CreateExportJobHalResponse")
        _check(spec, "CreateExportJobHalResponse", response.json())


@pytest.mark.parametrize("status", ["pending", "in_progress", "complete"])
def test_jobs_match_the_schema(spec: dict[str, Any], client: Client, status: str) -> None:
    job = client.gateway.jobs.add(status=status)
    body = client.get_list(f"{users_list()}/jobs", status=status).json()
    assert job in body["_embedded"]["jobs"]
    _check(spec, "ExportJobsHalResponse", body)
    assert set(body) == _properties(spec, "ExportJobsHalResponse")
    shown = client.send("GET", job["_links"]["self"]["href"]).json()
    _check(spec, "ExportJobHalResponse", shown)
    assert set(shown) == _properties(spec, "ExportJob")


@pytest.mark.parametrize(
    ("name", "response", "row"),
    [("users", "UsersHalResponse", "User"), ("extensions", "EndUserRouteHalResponse", "EndUserRoute")],
)
def test_provisioning_matches_the_schema(
    provisioning: dict[str, Any], client: Client, name: str, response: str, row: str
) -> None:
    body = client.get_list(f"{PROVISIONING}/accounts/549825/{name}", page_size=20, page=2).json()
    assert len(body["_embedded"]["data"]) == 20
    _check(provisioning, response, body)
    assert set(body) == _properties(provisioning, response)
    assert set(body["_links"]) == _properties(provisioning, "Links")
    assert all(set(fields) == _properties(provisioning, row) for fields in body["_embedded"]["data"])


def test_provisioning_errors_match_the_schema(provisioning: dict[str, Any], client: Client) -> None:
    response = client.get_list(USERS, page="x")
    assert response.status_code == 400
    _check(provisioning, "ValidationErrorsResponse", response.json())
    assert set(response.json()) == _properties(provisioning, "ValidationErrorsResponse")


def test_call_logs_match_the_schema(reports: dict[str, Any], client: Client) -> None:
    path = "/t/vbc.prod/reports/accounts/549825/call-logs"
    described = reports["paths"]["/accounts/{account_id}/call-logs"]["get"]["parameters"][1:]
    span = {"start:gte": "2000-01-01 00:00:00", "start:lte": "2100-01-01 00:00:00"}
    body = client.get_list(path, **span, page_size=400, page=2).json()
    assert len(body["_embedded"]["call_logs"]) == 400
    _check(reports, "CallLogsHalResponse", body)
    assert set(body) == _properties(reports, "CallLogsHalResponse")
    assert set(body["_links"]) >= _properties(reports, "Links")
    assert all(set(row) == _properties(reports, "CallLog") for row in body["_embedded"]["call_logs"])
    for item in described:
        value = item.get("example", "nobody")
        assert client.get_list(path, **{**span, item["name"]: value}).status_code == 200, item["name"]
    assert {item["name"] for item in described if item.get("required")} == set(span)
    refused = client.get_list(path)
    assert refused.status_code == 400
    _check(reports, "ValidationErrorsResponse", refused.json())
