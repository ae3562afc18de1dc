"""Two versions of a model side by side."""

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

_MOST_TENSORS = 50  # in an answer, those that moved farthest first

#: What numpy reads; of others (bfloat16, float8) it is only said that they are there.
_NUMERIC = {"F64", "F32", "F16", "I64", "I32", "I16", "I8", "U8", "BOOL"}


def compare(session: Session, model: Model, first: Version, second: Version, artifacts: Artifacts) -> ComparisonAnswer:
    """Set two versions of `model`, loaded with their family, side by side; reads both checkpoints.

    Raises:
        VersionDeleted: there is one to read no more.
    """
    if Disposition.DELETED in (first.disposition, second.disposition):
        raise VersionDeleted
    relation = _relation(first, second)
    return ComparisonAnswer(
        model=model.name,
        first=Side.model_validate(first),
        second=Side.model_validate(second),
        relation=relation,
        metrics=_metrics(*measured(session, first, second), same_images=relation != "other"),
        parameters=_parameters(artifacts.path(first.checkpoint), artifacts.path(second.checkpoint)),
    )


def measured(session: Session, first: Version, second: Version) -> tuple[Measurements, Measurements]:
    """What both were measured to be; what is of the images of a run is of the run that made the version.

    If the other one is the version that this run began from, it has what the run measured before: of the same images.
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
    """Tensor by tensor, so that two large models fit where one tensor of each does."""
    moved: list[TensorChange] = []
    parameters, differ, all_known = 0, 0, True
    with safe_open(first, framework="np") as one, safe_open(second, framework="np") as other:
        names, others = list(one.keys()), set(other.keys())
        for name in names:
            slice_ = one.get_slice(name)
            shape = slice_.get_shape()
            parameters += math.prod(shape)
            if name not in others or other.get_slice(name).get_shape() != shape:
                moved.append(TensorChange(name=name, shape=shape, relative_change=None))
                differ += math.prod(shape)
            elif slice_.get_dtype() not in _NUMERIC or other.get_slice(name).get_dtype() not in _NUMERIC:
                all_known = False
            else:
                before, after = one.get_tensor(name), other.get_tensor(name)
                count = int(np.count_nonzero(before != after))
                if count:
                    differ += count
                    moved.append(TensorChange(name=name, shape=shape, relative_change=_relative(before, after)))
        moved += (
            TensorChange(name=name, shape=other.get_slice(name).get_shape(), relative_change=None)
            for name in others.difference(names)
        )
    moved.sort(key=lambda change: -(change.relative_change or 0.0))
    return ParameterChange(
        tensors=len(others.union(names)),
        tensors_changed=len(moved),
        parameters=parameters,
        parameters_changed=differ if all_known else None,
        farthest=moved[:_MOST_TENSORS],
    )


def _relative(before: np.ndarray, after: np.ndarray) -> float | None:
    length = float(np.linalg.norm(before.astype(np.float64)))
    moved = float(np.linalg.norm(after.astype(np.float64) - before.astype(np.float64)))
    return moved / length if length else None
