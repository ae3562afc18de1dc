"""Two versions of a model side by side."""

import math
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, Field
from safetensors import safe_open

from service.registry.errors import VersionDeleted
from service.registry.states import Disposition
from service.registry.storage.artifacts import Artifacts
from service.registry.tables import Model, Version

_MOST_TENSORS = 50  # in an answer, those that moved farthest first
_COMPARED = ("forget_accuracy", "robust_forget_accuracy", "test_accuracy", "retain_accuracy", "collapse")

#: What numpy reads; of others (bfloat16, float8) it is only said that they are there.
_NUMERIC = {"F64", "F32", "F16", "I64", "I32", "I16", "I8", "U8", "BOOL"}


class Side(BaseModel):
    """One of the two versions."""

    number: int
    sha256: str
    size: int = Field(description="Bytes.")
    method: str
    gate: str | None


class MetricChange(BaseModel):
    """One measurement of both."""

    name: str
    first: float | None
    second: float | None
    change: float | None = Field(description="Second minus first, where both were measured.")


class TensorChange(BaseModel):
    """One tensor that differs."""

    name: str
    shape: list[int]
    relative_change: float | None = Field(
        description="‖second − first‖ / ‖first‖ (L2), where the type is one that can be computed with."
    )


class ParameterChange(BaseModel):
    """How the checkpoints differ."""

    tensors: int = Field(description="Of both versions, each name once.")
    tensors_changed: int
    parameters: int = Field(description="Of the first version.")
    parameters_changed: int | None = Field(
        description="Those that differ in the second, or are not there; nothing if a type could not be read."
    )
    farthest: list[TensorChange] = Field(description="The tensors that moved farthest, at most fifty.")


class ComparisonAnswer(BaseModel):
    """What differs from the first version to the second."""

    model: str
    first: Side
    second: Side
    relation: Literal["same", "parent", "child", "other"] = Field(
        description="What the first version is to the second."
    )
    metrics: list[MetricChange]
    parameters: ParameterChange


def compare(model: Model, first: Version, second: Version, artifacts: Artifacts) -> ComparisonAnswer:
    """Set two versions of `model`, loaded with their family, side by side; reads both checkpoints.

    Raises:
        VersionDeleted: there is one to read no more.
    """
    if Disposition.DELETED in (first.disposition, second.disposition):
        raise VersionDeleted
    return ComparisonAnswer(
        model=model.name,
        first=_side(first),
        second=_side(second),
        relation=_relation(first, second),
        metrics=_metrics(first, second),
        parameters=_parameters(artifacts.path(first.checkpoint), artifacts.path(second.checkpoint)),
    )


def _side(version: Version) -> Side:
    return Side(
        number=version.number, sha256=version.sha256, size=version.size, method=version.method, gate=version.gate
    )


def _relation(first: Version, second: Version) -> Literal["same", "parent", "child", "other"]:
    if first.id == second.id:
        return "same"
    if second.parent_id == first.id:
        return "parent"
    return "child" if first.parent_id == second.id else "other"


def _metrics(first: Version, second: Version) -> list[MetricChange]:
    def measured(version: Version, name: str) -> float | None:
        value = version.metrics.get(name)
        return float(value) if isinstance(value, int | float) else None

    changes = []
    for name in _COMPARED:
        before, after = measured(first, name), measured(second, name)
        change = None if before is None or after is None else after - before
        changes.append(MetricChange(name=name, first=before, second=after, change=change))
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
