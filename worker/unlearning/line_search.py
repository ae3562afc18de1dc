"""Line search from the unlearned weights back towards the original ones, as far as the deletion holds."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


@torch.no_grad()
def nearest_holding(
    parameters: Sequence[Tensor], original: Sequence[Tensor], holds: Callable[[], bool], *, bisections: int
) -> float:
    """Move `parameters` in place to θ_ori + α (θ − θ_ori) with the smallest α found for which `holds()`; return α.

    Bisection between 0 (assumed not to hold) and 1 (known to hold): whatever α it ends at was tested itself, so the
    result holds even where the condition is not monotonic along the line.
    """
    reached = [p.clone() for p in parameters]

    def move(alpha: float) -> None:
        for p, start, end in zip(parameters, original, reached, strict=True):
            p.copy_(end if alpha == 1 else torch.lerp(start, end, alpha))

    low, high = 0.0, 1.0
    for _ in range(bisections):
        middle = (low + high) / 2
        move(middle)
        low, high = (low, middle) if holds() else (middle, high)
    move(high)
    return high
