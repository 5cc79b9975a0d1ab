"""Endpoints of export jobs and their archives."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from vbc_source.emulator.data.archives import make_archive
from vbc_source.emulator.data.jobs import StoredJob
from vbc_source.emulator.data.people import Fields
from vbc_source.emulator.data.selection import PageSlice
from vbc_source.emulator.faults.responses import answer_bad_request
from vbc_source.emulator.routes.gateway_state import (
    INDIA_PREFIX,
    RECORDING_PREFIXES,
    GatewayState,
    refuse_missing,
)
from vbc_source.emulator.routes.pages import (
    ListRequest,
    answer_json,
    answer_list,
    check_page_size,
    slice_rows,
)
from vbc_source.emulator.routes.parameters import parse_export_filters, parse_paging
from vbc_source.emulator.routes.ranges import answer_bytes

# The vendor documents the archive under this prefix too.
_OLD_ARCHIVE_PREFIX = "/t/vbc.prod/call_recording/v1"


@dataclass(frozen=True, slots=True)
class ExportRoutes:
    """Endpoints of export jobs and their archives."""

    gateway: GatewayState

    def make_routes(self) -> list[Route]:
        """Return the routes, which must precede those that take any text for the id of a recording."""
        routes = []
        for prefix in RECORDING_PREFIXES:
            account = f"{prefix}/accounts/{{account}}"
            user = f"{account}/users/{{user}}/call_recordings"
            routes += [
                Route(f"{account}/company_call_recordings/export", self._start, methods=["POST"]),
                Route(f"{user}/jobs", self._list, methods=["GET"]),
                Route(f"{user}/jobs/{{id}}", self._get, methods=["GET"]),
            ]
            if prefix != INDIA_PREFIX:
                routes.append(Route(f"{user}/export", self._start, methods=["POST"]))
        for prefix in (*RECORDING_PREFIXES, _OLD_ARCHIVE_PREFIX):
            routes.append(Route(f"{prefix}/bulkDownload/retrieve", self._download, methods=["GET"]))
        return routes

    async def _start(self, request: HttpRequest) -> Response:
        found = self.gateway.find_recordings(request)
        query = parse_export_filters(await request.body())
        files = tuple(found.recordings.audio_file(row) for row in found.recordings.match(query))
        # The API lists the export of a company under the user who started it.
        partial = self.gateway.has_fault("jobs-partly", request)
        job = found.account.jobs.start(found.user, files, partial=partial)
        return JSONResponse({"job_ids": [job.id]}, 202)

    async def _list(self, request: HttpRequest) -> Response:
        account, user = self.gateway.find_user(request)
        page, page_size = parse_paging(request.query_params)
        check_page_size(self.gateway, request, page_size)

        def select(page: PageSlice) -> tuple[int, list[bytes]]:
            status = request.query_params.get("status")
            rows = [row for row in self._select_jobs(request) if status in (None, row["status"])]
            return slice_rows(self.gateway, request, rows, page)

        path = f"/accounts/{account.account_id}/users/{user}/call_recordings/jobs"
        return answer_list(self.gateway, request, ListRequest(path, "jobs", page, page_size, select))

    async def _get(self, request: HttpRequest) -> Response:
        rows = [row for row in self._select_jobs(request) if str(row["id"]) == request.path_params["id"]]
        if not rows:
            raise refuse_missing("Job")
        _, [row] = slice_rows(self.gateway, request, rows, PageSlice(0, 1))
        return answer_json(self.gateway, request, row)

    def _select_jobs(self, request: HttpRequest) -> list[Fields]:
        account, user = self.gateway.find_user(request)
        return account.jobs.select(user, keep_expired=self.gateway.has_fault("expired-listed", request))

    async def _download(self, request: HttpRequest) -> Response:
        params = request.query_params
        # the vendor writes both
        job_id = params.get("jobId") or params.get("job_id")
        if not job_id:
            return answer_bad_request("Parameter jobId is missing")
        job, now = self._find_job(job_id), self.gateway.clock()
        if job is None or job.has_expired(now):
            raise refuse_missing("Job")
        if not job.is_finished(now):
            return JSONResponse({"status": 409, "message": "Job is not complete"}, 409)
        # an archive lacks what its job says is missing
        files = job.files[: job.count_files(now)]
        # In a thread: it takes a second per gigabyte, during which other requests must be answered.
        archive = await run_in_threadpool(make_archive, files, job.created, self.gateway.zip_members)
        response = answer_bytes(archive, request.headers.get("range"))
        response.headers["content-disposition"] = f'attachment; filename="{job.id}.zip"'
        return response

    def _find_job(self, job_id: str) -> StoredJob | None:
        # The path has no account: ids of jobs are unique across accounts.
        with self.gateway.lock:
            jobs = (account.jobs.find(job_id) for account in self.gateway.accounts.values())
            return next((job for job in jobs if job is not None), None)
