"""A database as an earlier release has left it: rows in every table, by plain INSERTs and by no code of today."""

import hashlib
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Integer, MetaData, Table

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
KEY = "sg_0123456789ab_" + "5a" * 32
FILES = {
    "checkpoints/1": b"first",
    "checkpoints/2": b"second",
    "evaluation-sets/1": b"set",
    "anchor-sets/1": b"anchors",
}
#: A request in each, and the job that serves it.
STATES = ("queued", "running", "completed", "failed", "cancelled")
ENDED = STATES[2:]

Row = dict[str, Any]


def identity(name: str) -> uuid.UUID:
    """The identifier of what has this name here."""
    return uuid.uuid5(uuid.NAMESPACE_OID, name)


def tables(connection: Connection) -> list[Table]:
    """Those that there are now, each after those that it refers to."""
    found = MetaData()
    found.reflect(connection)
    return [table for table in found.sorted_tables if table.name != "alembic_version"]


def fill(connection: Connection) -> None:
    """Write rows into all tables that there are, with the columns that they have."""
    given = _rows()
    for table in tables(connection):
        for row in given[table.name]:  # a table that this does not know is one that nobody tests
            known = {name: value for name, value in row.items() if name in table.columns}
            if connection.dialect.name == "sqlite":  # which keeps identifiers as text
                known = {name: it.hex if isinstance(it, uuid.UUID) else it for name, it in known.items()}
            connection.execute(table.insert().values(known))
        counted = {"id"} if isinstance(table.columns[0].type, Integer) else set()  # the database gives these out
        said = {name for row in given[table.name] for name, value in row.items() if value is not None}
        empty = {column.name for column in table.columns} - said - counted
        assert not empty, f"{table.name}: no row says anything about {empty}"


def content(connection: Connection) -> dict[str, list[Row]]:
    """All rows of all tables, in an order of their own."""
    return {
        table.name: sorted((dict(row._mapping) for row in connection.execute(table.select())), key=repr)
        for table in tables(connection)
    }


def _rows() -> dict[str, list[Row]]:
    acme, pets, first, second = map(identity, ("acme", "pets", "version 1", "version 2"))
    hook, subject, manifest = map(identity, ("hook", "subject request", "manifest"))
    preprocessing = {"size": [8, 8], "mean": [0.5] * 3, "std": [0.25] * 3}
    version = {
        "model_id": pets,
        "architecture": {"name": "cifar_resnet8", "in_channels": 3},
        "classes": ["cat", "dog"],
        "preprocessing": preprocessing,
        "attributes": {"cat": ["whiskers"]},
        "code_version": "0.0.9",
        "created_at": NOW,
        "tags": {"stage": "live"},
    }
    callback = {
        "tenant_id": acme,
        "url": "https://example.com/hook",
        "events": [],
        "description": "ours",
        "secret": b"s" * 32,
        "previous_secret": b"p" * 32,
        "previous_secret_until": NOW,
        "private_key": b"k" * 32,
        "disabled_at": NOW,
        "disabled_reason": "it answered 410 Gone",
        "created_at": NOW,
    }
    return {
        "tenants": [{"id": acme, "name": "acme", "pseudonym_key": b"t" * 32, "created_at": NOW}],
        "api_keys": [
            {
                "id": identity("key"),
                "tenant_id": acme,
                "name": "first",
                "prefix": KEY[:15],
                "last_four": KEY[-4:],
                "digest": hashlib.sha256(KEY.encode()).hexdigest(),
                "scopes": ["admin"],
                "created_at": NOW,
                "expires_at": NOW + timedelta(days=36500),
            },
            {
                "id": identity("old key"),
                "tenant_id": acme,
                "name": "old",
                "prefix": "sg_ba9876543210",
                "last_four": "0000",
                "digest": "0" * 64,
                "scopes": ["models:read"],
                "created_at": NOW,
                "revoked_at": NOW,
            },
        ],
        "creations": [
            {
                "tenant_id": acme,
                "operation": "POST /v1/models",
                "key": "k",
                "fingerprint": "f" * 64,
                "attempt": identity("attempt"),
                "in_flight_until": NOW,
                "status": 201,
                "headers": {"location": "/v1/models/pets"},
                "body": b"{}",
                "expires_at": NOW,
            }
        ],
        "models": [
            {
                "id": pets,
                "tenant_id": acme,
                "name": "pets",
                "description": "of people's pets",
                "policy": {"max_collapse": 0.3},
                "approval_required": False,
                "created_at": NOW,
            }
        ],
        "jobs": [_job(at, state) for at, state in enumerate(STATES)],
        "step_metrics": [
            {"job_id": identity("job completed"), "fence": 1, "step": at, "values": {"collapse": 0.1 * at}}
            for at in (1, 2)
        ],
        "versions": [
            version
            | {"id": first, "number": 1, "checkpoint": "checkpoints/1", "method": "registered", "config": {}}
            | {"sha256": hashlib.sha256(b"first").hexdigest(), "size": 5, "metrics": {}},
            version
            | {"id": second, "number": 2, "checkpoint": "checkpoints/2", "method": "structguard", "config": {"seed": 0}}
            | {"sha256": hashlib.sha256(b"second").hexdigest(), "size": 6, "metrics": {"test_accuracy": 91.5}}
            | {"parent_id": first, "job_id": identity("job completed"), "gate": "passed"},
        ],
        "aliases": [
            {
                "model_id": pets,
                "name": "production",
                "version_id": second,
                "follows_gate": True,
                "moved_at": NOW,
                "moved_by": "key:1",
            }
        ],
        "evaluation_sets": [
            {
                "id": identity("set"),
                "model_id": pets,
                "name": "holdout",
                "kind": "test",
                "samples": "evaluation-sets/1",
                "sha256": hashlib.sha256(b"set").hexdigest(),
                "size": 3,
                "count": 2,
                "created_at": NOW,
            }
        ],
        "anchor_sets": [
            {
                "id": identity("anchors"),
                "tenant_id": acme,
                "cache_key": "c" * 64,
                "encoder": "minilm/all-MiniLM-L6-v2",
                "encoder_digest": "e" * 64,
                "classes": ["cat", "dog"],
                "descriptions": ["a cat", "a dog"],
                "dimension": 384,
                "anchors": "anchor-sets/1",
                "sha256": hashlib.sha256(b"anchors").hexdigest(),
                "created_at": NOW,
            }
        ],
        "deletion_requests": [_request(at, state) for at, state in enumerate(STATES)],
        "transitions": [
            {"request_id": identity(f"request {state}"), "at": NOW, "after": "received"}
            for at, state in enumerate(STATES)
        ]
        + [
            {
                "request_id": identity(f"request {state}"),
                "at": NOW,
                "before": "received",
                "after": "queued",
                "reason": "it came",
            }
            for at, state in enumerate(STATES)
        ],
        "manifests": [
            {
                "id": manifest,
                "version_id": first,
                "name": "training",
                "uris": "manifests/1",
                "count": 1,
                "suppressed": 1,
                "created_at": NOW,
            }
        ],
        "records": [
            {"manifest_id": manifest, "sample_hmac": b"r" * 32, "row": 0, "subject_hmac": b"j" * 32, "label": 0}
        ],
        "suppressions": [
            {
                "id": identity("suppression"),
                "tenant_id": acme,
                "request_id": identity("request completed"),
                "kind": "subject",
                "hmac": b"j" * 32,
                "at": NOW,
            }
        ],
        "subject_requests": [
            {
                "id": subject,
                "tenant_id": acme,
                "subject_request_id": identity("the controller's"),
                "fingerprint": "f" * 64,
                "domain": "localhost",
                "status": "completed",
                "received_at": NOW,
                "due_at": NOW + timedelta(days=30),
                "cancelled_at": NOW,
            }
        ],
        "subject_identities": [{"request_id": subject, "hmac": b"j" * 32}],
        "erasures": [{"deletion_request_id": identity("request completed"), "request_id": subject}],
        "webhook_endpoints": [callback | {"id": hook}, callback | {"id": identity("callback")}],
        "status_callbacks": [{"endpoint_id": identity("callback"), "request_id": subject}],
        "webhook_messages": [{"id": "msg_1", "type": "webhook.test", "body": "{}", "created_at": NOW}],
        "webhook_deliveries": [
            {
                "id": identity("delivery"),
                "message_id": "msg_1",
                "endpoint_id": hook,
                "state": "pending",
                "tries": 1,
                "next_at": NOW,
                "lease_until": NOW,
                "created_at": NOW,
            }
        ],
        "webhook_attempts": [
            {
                "delivery_id": identity("delivery"),
                "at": NOW,
                "status": 500,
                "error": "timeout",
                "milliseconds": 7,
            }
        ],
    }


def _job(at: int, state: str) -> Row:
    work = {
        "attempt": 1,
        "fence": 1,
        "base_number": 1,
        "step": 5,
        "started_at": NOW,
        "peak_memory": 1 << 33,
        "rung_at": NOW,
        "metrics": {"before": {"test_accuracy": 92.0}, "after": {"test_accuracy": 91.5}},
        "seconds": {"load": 0.5},
    }
    held = {"phase": "unlearn", "worker": "host/1", "lease_until": NOW + timedelta(seconds=30)}
    ended = {"finished_at": NOW, "reason": "so it was"}
    return {
        "id": identity(f"job {state}"),
        "tenant_id": identity("acme"),
        "model_id": identity("pets"),
        "state": state,
        "options": {"profile": "default", "scope": "exact", "seed": 0},
        "attempt": 0,
        "fence": 0,
        "cancel_requested": False,
        "alone": False,
        "step": 0,
        "total_steps": 100,
        "metrics": {},
        "seconds": {},
        "created_at": NOW + timedelta(seconds=at),
        **(work if state != "queued" else {}),
        **(held if state == "running" else {}),
        **(ended if state in ENDED else {}),
    }


def _request(at: int, state: str) -> Row:
    here = {"samples": f"samples/{identity(f'request {state}')}", "samples_key": bytes(60)}
    ended = {"ended_at": NOW, "reason": "so it was"}
    gone = {"samples_destroyed_at": NOW}
    return {
        "id": identity(f"request {state}"),
        "tenant_id": identity("acme"),
        "model_id": identity("pets"),
        "job_id": identity(f"job {state}"),
        "submitted_by": "key:1",
        "samples_hmac": "a" * 64,
        "duplicate_of_id": None if at == 0 else identity("request queued"),
        "state": state,
        "regulation": "gdpr",
        "received_at": NOW + timedelta(seconds=at),
        "due_at": NOW + timedelta(days=30),
        "sample_count": 2,
        "withdrawn": False,
        "metrics": {"before": {}, "after": {}} if state == "completed" else None,
        **(ended if state in ENDED else {}),
        **(here if state in ("queued", "running", "failed") else gone),
    }
