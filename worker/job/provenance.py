"""Provenance of a run's measurements, which its certificate states."""

import platform
from collections.abc import Sequence
from importlib.metadata import version as package_version
from typing import Any

import torch

from service.registry.evidence.statement import name
from service.registry.reasons import Objection
from service.registry.tables import AnchorSet, EvaluationSet, Version
from service.registry.training_data.reference_models import LeftOut
from worker.inputs.inputs import Inputs, ReferenceModel
from worker.settings import WorkerSettings


def provenance(
    inputs: Inputs,
    anchor_set: AnchorSet,
    references: Sequence[ReferenceModel],
    settings: WorkerSettings,
    device: torch.device,
    objections: Sequence[Objection],
) -> dict[str, Any]:
    """Policy, evaluation sets, anchors, references and environment of a run, and the objections of the gate."""
    return {
        "policy": inputs.model.policy,
        "objections": [str(objection) for objection in objections],
        "evaluation_sets": [evaluation_set_of(each.row, each.row.count) for each in inputs.sets],
        "anchors": anchors_of(anchor_set),
        "references": [reference_of(reference.version, reference.left_out) for reference in references],
        "environment": environment(settings, device),
    }


def evaluation_set_of(evaluation_set: EvaluationSet, count: int) -> dict[str, Any]:
    """Kind, name, number of images and digest of an evaluation set."""
    return {
        "kind": evaluation_set.kind,
        "name": evaluation_set.name,
        "count": count,
        "digest": {"sha256": evaluation_set.sha256},
    }


def anchors_of(anchor_set: AnchorSet) -> dict[str, Any]:
    """Digest of an anchor set, and of the encoder that made it."""
    return {
        "encoder": anchor_set.encoder,
        "encoder_sha256": anchor_set.encoder_digest or None,
        "digest": {"sha256": anchor_set.sha256},
    }


def reference_of(version: Version, left_out: LeftOut | None = None) -> dict[str, Any]:
    """Name and digest of a reference model, and why it was left out, if it was."""
    return {"name": name(version.model, version), "digest": {"sha256": version.sha256}, "left_out": left_out}


def environment(settings: WorkerSettings, device: torch.device) -> dict[str, Any]:
    """Versions, device and batch size, which may change how numbers are rounded."""
    return {
        "structguard": package_version("structguard"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda if device.type == "cuda" else None,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "machine": f"{platform.system()} {platform.machine()}",
        "evaluation_batch": settings.evaluation_batch,
    }
