"""What the queries for work cost when the registry holds a million requests: `python -m benchmarks.many_rows`.

The same operations on the same PostgreSQL server, in a database with a few thousand requests and in one with a million,
in which as many wait, run and have failed. `ratio` is the quotient of the medians: near 1, an operation does not grow.
"""

import argparse
import statistics
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from benchmarks.post import new_postgresql
from service.registry.access import api_keys, idempotency_keys
from service.registry.deletion_requests import image_retention, lifecycle
from service.registry.job_queue import claims, jobs
from service.registry.job_queue.batching import Batching
from service.registry.models import aliases, models, versions
from service.registry.models.quality_gate import Policy
from service.registry.operations import installation_status
from service.registry.options import Options
from service.registry.settings import RegistrySettings
from service.registry.states import State
from service.registry.storage import schema
from service.registry.storage.database import Database
from service.registry.storage.pagination import Page
from service.registry.tables import DeletionRequest, Model
from service.registry.telemetry import counters
from service.registry.telemetry.counters import CounterName
from service.registry.webhooks import outbox

_LEASE = timedelta(seconds=30)
_MODELS = 100
_VERSION: dict[str, Any] = {
    "architecture": {"name": "cifar_resnet8"},
    "classes": ["cat", "dog"],
    "preprocessing": {"size": [32, 32], "mean": [0.5] * 3, "std": [0.5] * 3},
    "attributes": {},
    "checkpoint": "checkpoints/x",
    "sha256": "0" * 64,
    "size": 1,
    "code_version": "0",
    "gate": None,
}
_SHARED = 256  # requests that wait for one further model

# What the service writes, in one statement. Request n arrived n seconds after the first. The newest of all run, on a
# model each; before them some wait, and 50 have failed; the very first 20 were withdrawn.
_FILL = text("""
WITH numbered AS MATERIALIZED (
    SELECT n, gen_random_uuid() AS job, gen_random_uuid() AS request, m.id AS model, m.tenant_id AS tenant,
        timestamptz '2026-01-01' + n * interval '1 second' AS at,
        CASE WHEN n >= :count - 50 THEN 'running' WHEN n >= :count - 50 - :waiting THEN 'queued'
            WHEN n >= :count - 100 - :waiting THEN 'failed' WHEN n < 20 THEN 'cancelled' ELSE 'completed' END AS state
    FROM generate_series(0, :count - 1) AS n
    JOIN (SELECT id, tenant_id, row_number() OVER (ORDER BY name) - 1 AS position FROM models) AS m
        ON m.position = n % :models
), jobs_written AS (
    INSERT INTO jobs (id, tenant_id, model_id, state, options, attempt, fence, lease_until, cancel_requested, step,
        total_steps, metrics, seconds, created_at)
    SELECT job, tenant, model, state, '{}', 1, 1, CASE state WHEN 'running' THEN now() + interval '1 day' END,
        false, 0, 0, '{}', '{}', at FROM numbered
), requests_written AS (
    INSERT INTO deletion_requests (id, tenant_id, model_id, job_id, submitted_by, samples_hmac, state, regulation,
        received_at, due_at, samples, sample_count)
    SELECT request, tenant, model, job, 'key:1', md5(n::text) || md5(n::text), state, 'gdpr', at,
        at + interval '1 month', CASE WHEN state IN ('running', 'queued', 'failed') THEN 'samples/' || request END, 1
    FROM numbered
)
INSERT INTO transitions (request_id, at, before, after, chained)
SELECT request, at, move.before, move.after, true FROM numbered
CROSS JOIN (VALUES (NULL, 'received'), ('received', 'queued'), ('queued', 'running'), ('running', 'completed'))
    AS move (before, after)
""")


def fill(database: Database, count: int, waiting: int) -> Model:
    """Create the tables and their rows; one of the models."""
    schema.upgrade(database)
    with database.write() as session:
        tenant = api_keys.ensure_tenant(session, "default")
        created = [
            models.register_model(
                session, tenant.id, name=f"model-{n}", description="", policy=Policy(), approval_required=False
            )
            for n in range(_MODELS)
        ]
    with database.write() as session:
        for n in range(499):  # the most that there are before they are summed up
            counters.add(session, CounterName.PHASE_SECONDS, "unlearn", seconds=0.1 * n)
        for model in created:
            version = versions.register_version(session, model, parent=None, **_VERSION)
            settings: dict[str, Any] = {
                "follows_gate": True,
                "override_gate": False,
                "expected_number": None,
                "by": "key:1",
            }
            aliases.point(session, model, "production", version, **settings)
        session.execute(_FILL, {"count": count, "waiting": waiting, "models": _MODELS})
    with database.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(text("VACUUM ANALYZE"))
    return created[0]


def operations(database: Database, model: Model) -> dict[str, Callable[[Session], object]]:
    """The operations of the service, its workers and its callers that are timed, by name."""

    def accept(session: Session, target: Model = model) -> DeletionRequest:
        return lifecycle.submit(
            session,
            target,
            request_id=uuid.uuid4(),
            regulation="gdpr",
            samples="samples/x",
            samples_key=b"",
            sample_count=1,
            samples_hmac=uuid.uuid4().hex,
            submitted_by="key:1",
            options=Options(),
        )

    def listed(
        session: Session, cursor: str | None = None, target: Model | None = None, state: State | None = None
    ) -> Page[DeletionRequest]:
        return lifecycle.list_requests(session, model.tenant_id, model=target, state=state, cursor=cursor, limit=50)

    with database.read() as session:
        cursor = None
        for _ in range(20):
            cursor = listed(session, cursor).next
    with database.write() as session:
        shared_model = models.register_model(
            session, model.tenant_id, name="shared", description="", policy=Policy(), approval_required=False
        )
        shared, *_ = [accept(session, shared_model).job_id for _ in range(_SHARED)]
    return {
        "accept a request": accept,
        "look whether there is room": lambda session: jobs.check_queue_limit(session, model.tenant_id, 10_000),
        "list the newest": listed,
        "list from a cursor": lambda session: listed(session, cursor),
        "list those of a model": lambda session: listed(session, target=model),
        "list those that failed": lambda session: listed(session, state=State.FAILED),
        "list those that were withdrawn": lambda session: listed(session, state=State.CANCELLED),
        "claim a job": lambda session: claims.take(session, worker="w", lease=_LEASE),
        f"claim a run for {_SHARED} requests": lambda session: claims.take(
            session, worker="w", lease=_LEASE, job_id=shared, batching=Batching(images=_SHARED)
        ),
        "return expired leases": lambda session: claims.reap(session, max_attempts=3),
        "announce waiting jobs": lambda session: jobs.take_unannounced(session, _LEASE),
        "find images to destroy": lambda session: image_retention.requests_with_expired_samples(
            session, RegistrySettings()
        ),
        "forget stored answers": idempotency_keys.forget_expired,
        "claim deliveries": lambda session: outbox.claim(session, limit=16),
        "look at everything for Prometheus": lambda session: installation_status.read(session, _LEASE),
    }


def median(database: Database, operation: Callable[[Session], object], times: int) -> float:
    """Median milliseconds of the operation, each time in a transaction that is rolled back."""
    durations = []
    for _ in range(times):
        with Session(database.engine) as session:
            began = time.perf_counter()
            operation(session)
            durations.append(1000 * (time.perf_counter() - began))
    return statistics.median(durations)


def main() -> None:
    """Print one table, as Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.many_rows", description=__doc__)
    parser.add_argument("--postgresql", default="postgresql://postgres@127.0.0.1:5432/postgres", help="a server's URL")
    parser.add_argument("--few", type=int, default=20_000, help="requests")
    parser.add_argument("--many", type=int, default=1_000_000, help="requests")
    parser.add_argument("--waiting", type=int, default=1000, help="requests, of both")
    parser.add_argument("--times", type=int, default=30, help="that each operation is timed")
    arguments = parser.parse_args()
    with ExitStack() as stack:
        subjects = []
        for count in (arguments.few, arguments.many):
            database = Database(stack.enter_context(new_postgresql(arguments.postgresql)))
            stack.callback(database.close)
            subjects.append((database, operations(database, fill(database, count, arguments.waiting))))
        print(f"| median ms of {arguments.times} | {arguments.few:,} requests | {arguments.many:,} requests | ratio |")
        print("|---|---|---|---|")
        for name in subjects[0][1]:
            few, many = (median(database, timed[name], arguments.times) for database, timed in subjects)
            print(f"| {name} | {few:.1f} | {many:.1f} | {many / few:.1f} |", flush=True)


if __name__ == "__main__":
    main()
