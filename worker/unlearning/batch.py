"""A set of labelled images, and how randomness reaches the device they are on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Images with their labels.

    Raises ValueError where the shapes disagree, the set is empty or the pixels are not floats in [0, 1].
    """

    images: Tensor  # (N, C, H, W) float, 0 = black, 1 = white, not normalised
    labels: Tensor  # (N,) int64, class indices

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or not self.images.is_floating_point():
            raise ValueError(f"images must be a float tensor (N, C, H, W), not {tuple(self.images.shape)}")
        if self.labels.shape != self.images.shape[:1] or self.labels.dtype != torch.int64:
            raise ValueError("labels must be an int64 tensor with one entry per image")
        if len(self.images) == 0:
            raise ValueError("a batch holds at least one image")
        if not bool(((self.images >= 0) & (self.images <= 1)).all()):
            raise ValueError("pixels must lie in [0, 1]; normalisation belongs to the model")

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device | str) -> "Batch":
        """The same images and labels on `device`."""
        return Batch(self.images.to(device), self.labels.to(device))


def uniform(shape: Sequence[int], low: float, high: float, *, rng: torch.Generator, like: Tensor) -> Tensor:
    """Floats in [low, high), drawn on the generator's device and moved to `like`'s."""
    return torch.rand(tuple(shape), generator=rng, device=rng.device).mul(high - low).add(low).to(like)


def integers(shape: Sequence[int], high: int, *, rng: torch.Generator, like: Tensor) -> Tensor:
    """Integers in [0, high), drawn on the generator's device and moved to `like`'s."""
    return torch.randint(high, tuple(shape), generator=rng, device=rng.device).to(like.device)


def shuffled(count: int, size: int, *, rng: torch.Generator, like: Tensor) -> Iterator[Tensor]:
    """Index tensors of `size`, for ever: the indices 0..count-1 in a new order each time all of them were used.

    With fewer than `size` indices each tensor repeats them, so that its length does not depend on `count`.
    """
    waiting = torch.empty(0, dtype=torch.int64, device=rng.device)
    while True:
        while len(waiting) < size:
            waiting = torch.cat([waiting, torch.randperm(count, generator=rng, device=rng.device)])
        yield waiting[:size].to(like.device)
        waiting = waiting[size:]
