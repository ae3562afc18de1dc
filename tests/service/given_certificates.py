"""Requests that have ended with a version, and what was measured of it."""

import base64
import json
from itertools import count
from typing import get_args, get_origin

from typing_extensions import get_type_hints, is_typeddict

from service.registry.measurements.schemas import Measurements
from tests.service.given_jobs import Jobs

SETS = [{"kind": "test", "name": "holdout", "count": 397, "digest": {"sha256": "a" * 64}}]
POLICY = {"max_collapse": 0.25, "max_test_accuracy_drop": 5.0}
REFERENCES = [
    {"name": "others/1", "digest": {"sha256": "d" * 64}, "left_out": None},
    {"name": "others/2", "digest": {"sha256": "e" * 64}, "left_out": "deleted"},
]
PROVENANCE = {
    "policy": POLICY,
    "objections": [],
    "evaluation_sets": SETS,
    "anchors": {"encoder": "minilm/1", "encoder_sha256": "b" * 64, "digest": {"sha256": "c" * 64}},
    "environment": {"torch": "2.10.0", "device": "cpu", "evaluation_batch": 256},
}
MEASURED = {
    "before": {"forget_accuracy": 0.0, "test_accuracy": 99.75, "retain_accuracy": None, "collapse": None},
    "after": {"forget_accuracy": 100.0, "test_accuracy": 98.9896, "retain_accuracy": None, "collapse": 0.008125},
}


def all_measured():
    """Everything that can be measured, before and after, each number another one."""
    numbers = count(1001)
    return {when: _filled(Measurements, numbers) for when in ("before", "after")}


def _filled(kind, numbers):
    if is_typeddict(kind):
        return {name: _filled(inner, numbers) for name, inner in get_type_hints(kind).items()}
    if get_origin(kind) is dict:
        return {name: _filled(get_args(kind)[1], numbers) for name in ("loss", "entropy")}
    if type(None) in get_args(kind):
        return _filled(get_args(kind)[0], numbers)
    return "loss" if kind is str else next(numbers) if kind is int else next(numbers) + 0.5


def ended(client, database, *objections, measured=MEASURED, **more):
    """A deletion request that has ended with a version; its resource."""
    accepted = client.deletion_request(**more).json()
    by_hand = Jobs(database)
    provenance = PROVENANCE | {"objections": [str(one) for one in objections]}
    by_hand.publish(by_hand.claim(), *objections, measured=measured, provenance=provenance)
    return client.get(accepted["links"]["self"]).json()


def statement(body):
    """What an envelope holds."""
    return json.loads(base64.b64decode(json.loads(body)["payload"]))
