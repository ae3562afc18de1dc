"""What the measurements of a run rest on, for whoever has to show it later."""

import platform
from collections.abc import Sequence
from importlib.metadata import version as package_version
from typing import Any

import torch

from service.registry.statement import name
from service.registry.tables import AnchorSet
from worker.inputs import Inputs, ReferenceModel
from worker.settings import WorkerSettings


def provenance(
    inputs: Inputs,
    anchor_set: AnchorSet,
    references: Sequence[ReferenceModel],
    settings: WorkerSettings,
    device: torch.device,
    objections: Sequence[str],
) -> dict[str, Any]:
    """Sets, anchors, references, policy and environment of a run, as they were, and what the gate held against it."""
    return {
        "policy": inputs.model.policy,
        "objections": list(objections),
        "evaluation_sets": [
            {"kind": kept.kind, "name": kept.name, "count": kept.count, "digest": {"sha256": kept.sha256}}
            for kept in inputs.sets
        ],
        "anchors": {
            "encoder": anchor_set.encoder,
            "encoder_sha256": anchor_set.encoder_digest or None,
            "digest": {"sha256": anchor_set.sha256},
        },
        "references": [
            {
                "name": name(one.version.model, one.version),
                "digest": {"sha256": one.version.sha256},
                "left_out": one.left_out,
            }
            for one in references
        ],
        "environment": {
            "structguard": package_version("structguard"),
            "python": platform.python_version(),
            "torch": torch.__version__,
            "cuda": torch.version.cuda if device.type == "cuda" else None,
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
            "machine": f"{platform.system()} {platform.machine()}",
            "evaluation_batch": settings.evaluation_batch,
        },
    }
