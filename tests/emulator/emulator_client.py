"""HTTP client of a served gateway, for the tests of the emulator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import requests

from vbc_source.emulator import Gateway

NOON = 1_750_248_000.0  # Wednesday, 18 June 2025, 12:00 UTC
API = "/t/vbc.prod/call_recording/api"
PROVISIONING = "/t/vbc.prod/provisioning/api"
USERS = f"{PROVISIONING}/accounts/549825/users"
LIST = f"{API}/accounts/self/company_call_recordings"


def users_list(user: object = "self", account: object = "self", prefix: str = API) -> str:
    """Return the path of the list of a user's recordings."""
    return f"{prefix}/accounts/{account}/users/{user}/call_recordings"


class Clock:
    """Clock that stands still until a test moves it."""

    def __init__(self, now: float = NOON) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Client:
    """HTTP client of a served gateway."""

    def __init__(self, gateway: Gateway, url: str) -> None:
        self.gateway = gateway
        self.url = url
        self.session = requests.Session()

    def post_token(self, **form: str) -> requests.Response:
        client = {"client_id": "demo-client", "client_secret": "demo-secret"}
        return self.session.post(f"{self.url}/token", data={**client, **form}, timeout=10)

    def log_in(self, password: str = "demo-password", username: str = "demo@vbc.prod") -> requests.Response:
        form = {"grant_type": "password", "scope": "openid", "username": username, "password": password}
        response = self.post_token(**form)
        if response.ok:
            self.use(response.json()["access_token"])
        return response

    def use(self, token: str) -> None:
        self.session.headers["authorization"] = f"Bearer {token}"

    def send(self, method: str, path: str, **options: Any) -> requests.Response:
        options = {"timeout": 10, "allow_redirects": False, **options}
        return self.session.request(method, path if path.startswith("http") else self.url + path, **options)

    def get_list(self, path: str = LIST, **params: object) -> requests.Response:
        # Argument names cannot contain colons: start_gte stands for start:gte.
        for name in ("start", "duration"):
            for bound in ("gte", "lte"):
                if f"{name}_{bound}" in params:
                    params[f"{name}:{bound}"] = params.pop(f"{name}_{bound}")
        return self.send("GET", path, params=params)

    def rows(self, **params: object) -> list[dict[str, Any]]:
        response = self.get_list(LIST, **{"page_size": 1000, **params})
        assert response.status_code == 200, response.text
        rows: list[dict[str, Any]] = response.json()["_embedded"]["recordings"]
        return rows

    def ids(self, **params: object) -> list[int]:
        return [row["id"] for row in self.rows(**params)]


Serve = Callable[..., Client]
