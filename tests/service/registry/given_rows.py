"""Rows that registry tests begin with, made by the functions that make them in production."""

import uuid
from datetime import timedelta

from service.registry.access import api_keys
from service.registry.deletion_requests import lifecycle, publication
from service.registry.job_queue import claims, jobs
from service.registry.job_queue.batching import Batching
from service.registry.models import models, versions
from service.registry.models.quality_gate import Policy
from service.registry.options import Options

LEASE = timedelta(seconds=30)
FILE = {"checkpoint": "checkpoints/x", "sha256": "0" * 64, "size": 1}
VERSION = {
    "architecture": {"name": "cifar_resnet8", "in_channels": 3},
    "classes": ["cat", "dog"],
    "preprocessing": {"size": [32, 32], "mean": [0.5] * 3, "std": [0.5] * 3},
    "attributes": {},
    "code_version": "0",
    "gate": None,
}


def tenant(session, name="acme"):
    return api_keys.ensure_tenant(session, name).id


def register_model(session, name="pets", of="acme", approval_required=False):
    return models.register_model(
        session,
        tenant(session, of),
        name=name,
        description="",
        policy=Policy(),
        approval_required=approval_required,
    )


def model_with_version(session, name="pets", **more):
    registered = register_model(session, name, **more)
    versions.register_version(session, registered, parent=None, **VERSION, **FILE)
    return registered


def request(
    session,
    model,
    regulation="gdpr",
    samples=None,
    samples_key=None,
    samples_hmac="0" * 64,
    images=1,
    options=Options(),  # noqa: B008
    by="key:1",
):
    request_id = uuid.uuid4()
    return lifecycle.submit(
        session,
        model,
        request_id=request_id,
        regulation=regulation,
        samples=samples or f"samples/{request_id}",
        samples_key=samples_key,
        sample_count=images,
        samples_hmac=samples_hmac,
        submitted_by=by,
        options=options,
    )


def claim(database, worker="w", lease=LEASE, job_id=None, batching=Batching()):  # noqa: B008
    with database.write() as session:
        return claims.take(session, worker=worker, lease=lease, job_id=job_id, batching=batching)


def publish(session, held, objections=(), own_metrics=None):
    job = jobs.read(session, held.job_id)
    return publication.publish(
        session,
        held,
        model=job.model,
        parent=versions.require_latest_version(session, job.model),
        parent_metrics={"test_accuracy": 90.0},
        objections=objections,
        results={"metrics": {"before": {}, "after": {}}, "seconds": {"load": 1.0}, "peak_memory": 5},
        own_metrics=own_metrics,
        method="structguard",
        config={"seed": 0},
        code_version="0",
        metrics={"test_accuracy": 89.0},
        **FILE,
    )
