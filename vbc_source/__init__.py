"""A dlt source for call recordings of Vonage Business Communications, and the functions of its commands.

Where to read first: `schema/pages.py` turns a response into rows, `extract/reading/window_attempt.py` decides
whether the pages of a window are complete, `warehouse/completeness.py` decides which proofs count,
`audio/archive.py` stores bytes. docs/architecture.md has the flow of data, and the file for each question.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vbc_source.analytics.freshness import Freshness, read_freshness
    from vbc_source.analytics.models import ModelsResult, build_models
    from vbc_source.api.export_jobs import open_exports
    from vbc_source.api.recordings import open_recordings
    from vbc_source.audio.archive_audio import AudioResult, archive_audio
    from vbc_source.audio.exports.download import download_exports
    from vbc_source.audio.exports.run import ExportResult
    from vbc_source.audio.sidecars.rebuild import RebuildResult, rebuild_ledger
    from vbc_source.backfills.backfill import (
        BackfillResult,
        backfill,
        finish_backfill,
        plan_backfill,
        prepare_backfill,
    )
    from vbc_source.backfills.window_load import load_window
    from vbc_source.config import VbcCredentials
    from vbc_source.erasure.forget import forget
    from vbc_source.erasure.result import ErasureResult
    from vbc_source.errors import VbcError
    from vbc_source.evidence.chain import CustodyResult, verify_custody
    from vbc_source.evidence.export import EvidenceResult, export_evidence
    from vbc_source.fixity.check_fixity import check_fixity
    from vbc_source.fixity.result import FixityResult
    from vbc_source.load.compaction import CompactResult, compact
    from vbc_source.load.destinations import Target, use_tenant
    from vbc_source.load.destinations.duckdb import VbcDuckDb
    from vbc_source.load.destinations.postgres import VbcPostgres
    from vbc_source.load.sync import SyncResult, sync
    from vbc_source.monitoring.doctor import Check, diagnose
    from vbc_source.monitoring.status import Status, read_status
    from vbc_source.reconciliation.findings import ReconcileResult
    from vbc_source.reconciliation.reconcile import reconcile
    from vbc_source.retention.apply import ApplyResult, apply_retention
    from vbc_source.retention.legal_hold import LegalHold, read_legal_hold
    from vbc_source.retention.plan import RetentionPlan, plan_retention
    from vbc_source.retention.retain import RetentionResult, retain
    from vbc_source.source import vbc_source
    from vbc_source.tenants import list_tenants
    from vbc_source.verification.findings import VerifyResult
    from vbc_source.verification.verify import verify

# imported when used: dlt takes most of a second, which `vbc --help` and a scheduler's parser should not pay
_MODULES = {
    "analytics.freshness": "Freshness read_freshness",
    "analytics.models": "ModelsResult build_models",
    "api.export_jobs": "open_exports",
    "api.recordings": "open_recordings",
    "audio.archive_audio": "AudioResult archive_audio",
    "audio.exports.download": "download_exports",
    "audio.exports.run": "ExportResult",
    "audio.sidecars.rebuild": "RebuildResult rebuild_ledger",
    "backfills.backfill": "BackfillResult backfill finish_backfill plan_backfill prepare_backfill",
    "backfills.window_load": "load_window",
    "config": "VbcCredentials",
    "erasure.forget": "forget",
    "erasure.result": "ErasureResult",
    "errors": "VbcError",
    "evidence.chain": "CustodyResult verify_custody",
    "evidence.export": "EvidenceResult export_evidence",
    "fixity.check_fixity": "check_fixity",
    "fixity.result": "FixityResult",
    "load.compaction": "CompactResult compact",
    "load.destinations": "Target use_tenant",
    "load.destinations.duckdb": "VbcDuckDb",
    "load.destinations.postgres": "VbcPostgres",
    "load.sync": "SyncResult sync",
    "monitoring.doctor": "Check diagnose",
    "monitoring.status": "Status read_status",
    "reconciliation.findings": "ReconcileResult",
    "reconciliation.reconcile": "reconcile",
    "retention.apply": "ApplyResult apply_retention",
    "retention.legal_hold": "LegalHold read_legal_hold",
    "retention.plan": "RetentionPlan plan_retention",
    "retention.retain": "RetentionResult retain",
    "source": "vbc_source",
    "tenants": "list_tenants",
    "verification.findings": "VerifyResult",
    "verification.verify": "verify",
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names.split()}

__all__ = [  # noqa: RUF022 - in the order of the commands
    "vbc_source",
    "VbcCredentials",
    "VbcDuckDb",
    "VbcPostgres",
    "VbcError",
    "Target",
    "use_tenant",
    "list_tenants",
    "sync",
    "SyncResult",
    "compact",
    "CompactResult",
    "backfill",
    "prepare_backfill",
    "plan_backfill",
    "load_window",
    "finish_backfill",
    "BackfillResult",
    "archive_audio",
    "AudioResult",
    "rebuild_ledger",
    "RebuildResult",
    "open_exports",
    "download_exports",
    "ExportResult",
    "open_recordings",
    "check_fixity",
    "FixityResult",
    "retain",
    "read_legal_hold",
    "LegalHold",
    "RetentionResult",
    "export_evidence",
    "EvidenceResult",
    "verify_custody",
    "CustodyResult",
    "plan_retention",
    "RetentionPlan",
    "apply_retention",
    "ApplyResult",
    "forget",
    "ErasureResult",
    "verify",
    "VerifyResult",
    "reconcile",
    "ReconcileResult",
    "read_status",
    "Status",
    "diagnose",
    "Check",
    "build_models",
    "ModelsResult",
    "read_freshness",
    "Freshness",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
