"""State of a gateway that its endpoints read, and the lookup of what a path names."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, PlainTextResponse, Response

from vbc_source.emulator.data.accounts import Account
from vbc_source.emulator.data.archives import MembersHook
from vbc_source.emulator.data.environment import Environment
from vbc_source.emulator.data.recordings import Recordings
from vbc_source.emulator.data.stored_recording import DEFAULT_PREFIX
from vbc_source.emulator.faults.active import ActiveFaults
from vbc_source.emulator.faults.responses import NO_RIGHTS, OTHER_HOST

# an API of its own, which has no on-demand recordings
INDIA_PREFIX = "/t/vbc.prod/call_recording_india/api"
V1_PREFIX = "/t/vbc.prod/call_recording/v1/api"
RECORDING_PREFIXES = (DEFAULT_PREFIX, V1_PREFIX, INDIA_PREFIX)
PROVISIONING_PREFIX = "/t/vbc.prod/provisioning/api"
REPORTS_PREFIX = "/t/vbc.prod/reports"


class Refusal(Exception):
    """Stops the handling of a request; the response is sent instead."""

    def __init__(self, response: Response) -> None:
        """Keep the response."""
        super().__init__(response.status_code)
        self.response = response


def refuse_missing(what: str) -> Refusal:
    """Return the refusal of a request for something that does not exist."""
    return Refusal(JSONResponse({"status": 404, "message": f"{what} not found"}, 404))


@dataclass(frozen=True, slots=True)
class RequestedRecordings:
    """Recordings that the path of a request names.

    Attributes:
        account: Account in the path.
        user: User in the path; the API user for the recordings of a company.
        recordings: Store of the recordings.
        path: Path of their list, without the prefix.
    """

    account: Account
    user: str
    recordings: Recordings
    path: str


@dataclass(kw_only=True, eq=False)
class GatewayState(Environment):
    """State of a gateway that its endpoints read.

    Attributes:
        faults: Active faults.
        rng: Source of random orders and changes.
        main_id: Id of the account that `self` stands for.
        accounts: Accounts that the API user may access, by id, the main account first.
        page_size_cap: Maximum number of rows per page; larger requests get this many.
        zip_members: Replaces the members of exports' archives.
        storage_url: Target of `audio-redirect`; the path of the request follows.
    """

    faults: ActiveFaults
    rng: Random
    main_id: str
    accounts: dict[str, Account] = field(default_factory=dict)
    # an assumption: the reference has a default of 10, and no maximum
    page_size_cap: int = 1000
    zip_members: MembersHook | None = None
    storage_url: str = OTHER_HOST

    def run_page_hooks(self, request: HttpRequest) -> None:
        """Run what a test has registered to run before a list page is read."""

    def has_fault(self, name: str, request: HttpRequest) -> bool:
        """Check whether a fault is active for a request."""
        return self.faults.has(name, request.scope["path"])

    def find_account(self, request: HttpRequest) -> Account | None:
        """Look up the account in a path; None if the API user may not access it."""
        account_id = request.path_params["account"]
        return self.accounts.get(self.main_id if account_id == "self" else account_id)

    def find_user(self, request: HttpRequest) -> tuple[Account, str]:
        """Look up the account and the user in a path; the API user if there is no user in it.

        Raises:
            Refusal: The account or the user is unknown or forbidden.
        """
        account = self.find_account(request)
        if account is None:
            raise Refusal(PlainTextResponse(NO_RIGHTS, 403))
        if "user" not in request.path_params:
            return account, account.users.api_user
        user = account.users.resolve(request.path_params["user"])
        if not account.users.knows(user):
            raise refuse_missing("User")
        if account.users.forbids(user):
            raise Refusal(PlainTextResponse(NO_RIGHTS, 403))
        return account, user

    def find_recordings(self, request: HttpRequest) -> RequestedRecordings:
        """Look up the recordings of the company or the user in a path.

        Raises:
            Refusal: The account or the user is unknown or forbidden.
        """
        account, user = self.find_user(request)
        path = f"/accounts/{account.account_id}"
        if "user" not in request.path_params:
            return RequestedRecordings(account, user, account.company, f"{path}/company_call_recordings")
        recordings = account.users.recordings(user)
        return RequestedRecordings(account, user, recordings, f"{path}/users/{user}/call_recordings")
