"""Comparison of two versions of a model: measurements, and how far the parameters moved."""

import math
from pathlib import Path
from typing import Literal

import numpy as np
from safetensors import safe_open
from sqlalchemy.orm import Session

from service.models.schemas import ComparisonAnswer, MetricChange, ParameterChange, Side, TensorChange
from service.registry.errors import VersionDeleted
from service.registry.measurements.definitions import Detail, Owner, shown
from service.registry.measurements.schemas import Measurements, of_version
from service.registry.models.versions import run_metrics
from service.registry.states import Disposition
from service.registry.storage.artifacts import Artifacts
from service.registry.tables import Model, Version

_MAX_TENSORS = 50  # in an answer; those with the largest relative change come first

#: Types that numpy reads. Tensors of others (bfloat16, float8) are counted, but their values are not compared.
_NUMERIC = {"F64", "F32", "F16", "I64", "I32", "I16", "I8", "U8", "BOOL"}


def compare(session: Session, model: Model, first: Version, second: Version, artifacts: Artifacts) -> ComparisonAnswer:
    """Compare two versions of `model`, loaded with their parent and children; reads both checkpoints.

    Raises:
        VersionDeleted: the checkpoint of one of them was destroyed.
    """
    if Disposition.DELETED in (first.disposition, second.disposition):
        raise VersionDeleted
    relation = _relation(first, second)
    return ComparisonAnswer(
        model=model.name,
        first=Side.model_validate(first),
        second=Side.model_validate(second),
        relation=relation,
        metrics=_metrics(*measurements_of(session, first, second), same_images=relation != "other"),
        parameters=_parameters(artifacts.path(first.checkpoint), artifacts.path(second.checkpoint)),
    )


def measurements_of(session: Session, first: Version, second: Version) -> tuple[Measurements, Measurements]:
    """The measurements of both; A_f and robust A_f are of the images of the run that made the version.

    If one version is the parent of the other, its A_f is what the run measured before unlearning: on the same images.
    """
    runs = run_metrics(session, (first, second))

    def of(version: Version, other: Version) -> Measurements:
        if other.parent_id == version.id and other.id in runs:
            return of_version(version.metrics, runs[other.id], "before")
        return of_version(version.metrics, runs.get(version.id))

    return of(first, second), of(second, first)


def _relation(first: Version, second: Version) -> Literal["same", "parent", "child", "other"]:
    if first.id == second.id:
        return "same"
    if second.parent_id == first.id:
        return "parent"
    return "child" if first.parent_id == second.id else "other"


def _metrics(first: Measurements, second: Measurements, *, same_images: bool) -> list[MetricChange]:
    changes = []
    for measurement in shown(Detail.HEADLINE):
        before, after = measurement.of(first), measurement.of(second)
        comparable = same_images or measurement.owner is Owner.VERSION
        change = after - before if comparable and before is not None and after is not None else None
        changes.append(MetricChange(name=measurement.path, first=before, second=after, change=change))
    return changes


def _parameters(first: Path, second: Path) -> ParameterChange:
    """Compare tensor by tensor, so that memory for one tensor of each checkpoint is enough."""
    changes: list[TensorChange] = []
    parameters, changed, is_comparable = 0, 0, True
    with safe_open(first, framework="np") as before, safe_open(second, framework="np") as after:
        names, names_after = list(before.keys()), set(after.keys())
        for name in names:
            slice_ = before.get_slice(name)
            shape = slice_.get_shape()
            parameters += math.prod(shape)
            if name not in names_after or after.get_slice(name).get_shape() != shape:
                changes.append(TensorChange(name=name, shape=shape, relative_change=None))
                changed += math.prod(shape)
            elif slice_.get_dtype() not in _NUMERIC or after.get_slice(name).get_dtype() not in _NUMERIC:
                is_comparable = False
            else:
                tensor, tensor_after = before.get_tensor(name), after.get_tensor(name)
                count = int(np.count_nonzero(tensor != tensor_after))
                if count:
                    changed += count
                    changes.append(
                        TensorChange(name=name, shape=shape, relative_change=_relative_change(tensor, tensor_after))
                    )
        changes += (
            TensorChange(name=name, shape=after.get_slice(name).get_shape(), relative_change=None)
            for name in names_after.difference(names)
        )
    changes.sort(key=lambda change: -(change.relative_change or 0.0))
    return ParameterChange(
        tensors=len(names_after.union(names)),
        tensors_changed=len(changes),
        parameters=parameters,
        parameters_changed=changed if is_comparable else None,
        farthest=changes[:_MAX_TENSORS],
    )


def _relative_change(before: np.ndarray, after: np.ndarray) -> float | None:
    """‖after − before‖ / ‖before‖ (L2); `None` if `before` is all zeros."""
    norm = float(np.linalg.norm(before.astype(np.float64)))
    distance = float(np.linalg.norm(after.astype(np.float64) - before.astype(np.float64)))
    return distance / norm if norm else None
