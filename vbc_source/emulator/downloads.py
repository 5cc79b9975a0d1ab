"""The endpoints of exports' archives."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from vbc_source.emulator.api import PREFIXES, Api
from vbc_source.emulator.archives import make_archive
from vbc_source.emulator.bodies import answer_bad_request
from vbc_source.emulator.jobs import Job
from vbc_source.emulator.ranges import answer_content
from vbc_source.emulator.shelves import answer_missing

# The reference documents this one beside the one that the jobs' links lead to.
_OLD_PREFIX = "/t/vbc.prod/call_recording/v1"


@dataclass(frozen=True, slots=True)
class Downloads:
    """Answers requests for the archives of finished jobs."""

    api: Api

    def make_routes(self) -> list[Route]:
        """Route the endpoint under every prefix."""
        return [
            Route(f"{prefix}/bulkDownload/retrieve", self._retrieve, methods=["GET"])
            for prefix in (*PREFIXES, _OLD_PREFIX)
        ]

    async def _retrieve(self, request: HttpRequest) -> Response:
        params = request.query_params
        id = params.get("jobId") or params.get("job_id")  # noqa: A001 - the API's name
        if not id:
            return answer_bad_request("Parameter jobId is missing")
        job = self._find(id)
        now = self.api.scene.clock()
        if job is None or job.has_expired(now):
            return answer_missing("Job")
        if not job.is_finished(now):
            return JSONResponse({"status": 409, "message": "Job is not complete"}, 409)
        files = job.files[: job.count_files(now)]
        archive = await run_in_threadpool(make_archive, files, job.created, self.api.zip_members)
        answer = answer_content(archive, request.headers.get("range"))
        answer.headers["content-disposition"] = f'attachment; filename="{job.id}.zip"'
        return answer

    def _find(self, id: str) -> Job | None:  # noqa: A002
        with self.api.scene.lock:
            found = (account.jobs.find(id) for account in self.api.accounts.values())
            return next((job for job in found if job is not None), None)
