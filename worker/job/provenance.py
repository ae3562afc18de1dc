"""What the measurements of a run rest on, for whoever has to show it later."""

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
    """Sets, anchors, references, policy and environment of a run, as they were, and what the gate held against it."""
    return {
        "policy": inputs.model.policy,
        "objections": [str(one) for one in objections],
        "evaluation_sets": [set_of(kept, kept.count) for kept in inputs.sets],
        "anchors": anchors_of(anchor_set),
        "references": [reference_of(one.version, one.left_out) for one in references],
        "environment": environment(settings, device),
    }


def set_of(kept: EvaluationSet, count: int) -> dict[str, Any]:
    """An evaluation set, and how many images it has."""
    return {"kind": kept.kind, "name": kept.name, "count": count, "digest": {"sha256": kept.sha256}}


def anchors_of(anchor_set: AnchorSet) -> dict[str, Any]:
    """Anchors, and what has made them."""
    return {
        "encoder": anchor_set.encoder,
        "encoder_sha256": anchor_set.encoder_digest or None,
        "digest": {"sha256": anchor_set.sha256},
    }


def reference_of(version: Version, left_out: LeftOut | None = None) -> dict[str, Any]:
    """A reference model, and why membership inference does without it, if it does."""
    return {"name": name(version.model, version), "digest": {"sha256": version.sha256}, "left_out": left_out}


def environment(settings: WorkerSettings, device: torch.device) -> dict[str, Any]:
    """What here may have to do with how numbers are rounded."""
    return {
        "structguard": package_version("structguard"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda if device.type == "cuda" else None,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "machine": f"{platform.system()} {platform.machine()}",
        "evaluation_batch": settings.evaluation_batch,
    }
