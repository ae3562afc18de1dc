"""Progress of a run, as `unlearn` yields it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Step:
    """One unit of progress. The last one of a run describes the model as it is left."""

    phase: Literal["surrogates", "unlearn"]
    step: int  # images made ("surrogates") or optimiser updates done ("unlearn")
    total: int  # images to make, or the cap on updates
    forget_accuracy: float | None = None  # A_f: percent of the forget images misclassified; None = not checked now
    view_accuracy: float | None = None  # the same over the watched training views (scope "views")
    terms: Mapping[str, float] = field(default_factory=dict)  # weighted loss terms of this update
