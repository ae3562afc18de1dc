"""Slight variations ("views") of an image: it is forgotten only if they are forgotten too.

Training and evaluation draw them differently, so that no view is measured that was trained on.
"""

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from worker.unlearning.batch import integers, uniform
from worker.unlearning.jpeg import jpeg

EVALUATION_VIEWS = (
    "flip",
    "left",
    "right",
    "up",
    "down",
    "noise",
    "brighter",
    "darker",
    "rotated",
    "jpeg",
)


def evaluation_views(images: Tensor) -> Iterator[tuple[str, Tensor]]:
    """The fixed views behind robust A_f, by the names in EVALUATION_VIEWS: (N, C, H, W) in [0, 1] -> the same shape.

    Horizontal flip; shifts by a sixteenth of the image (2 pixels of 32, at least 1) with replicated edges; Gaussian
    noise with σ = 0.02, the same pattern for every image; brightness ×1.15 and ×0.85; a rotation by 5 degrees;
    JPEG of quality 75.
    """
    n, c, h, w = images.shape
    dy, dx = max(1, round(h / 16)), max(1, round(w / 16))
    noise = torch.randn(c, h, w, generator=torch.Generator().manual_seed(0)).to(images) * 0.02
    yield "flip", images.flip(3)
    yield "left", _shift(images, 0, -dx)
    yield "right", _shift(images, 0, dx)
    yield "up", _shift(images, -dy, 0)
    yield "down", _shift(images, dy, 0)
    yield "noise", (images + noise).clamp(0, 1)
    yield "brighter", (images * 1.15).clamp(0, 1)
    yield "darker", images * 0.85
    still, angle = images.new_zeros(n), images.new_full((n,), math.radians(5))
    yield "rotated", warped(images, angle=angle, dy=still, dx=still, zoom=still + 1, mirror=still + 1, padding="border")
    yield "jpeg", jpeg(images, images.new_full((n,), 75))


def training_views(images: Tensor, *, rng: torch.Generator) -> Tensor:
    """One random view per image: (N, C, H, W) in [0, 1] -> the same shape.

    Each image draws on its own a flip, a shift (odd pixels of 32, or a fraction of one) and few of: a rotation, a zoom,
    brightness, contrast, noise and JPEG of another quality than the evaluation's. Few, because the slighter a
    variation, the harder it is to forget: training on an image altered beyond recognition does not help.
    """
    n, _, h, w = images.shape
    one = images.new_zeros(n)

    def draw(low: float, high: float) -> Tensor:
        return uniform((n,), low, high, rng=rng, like=one)

    def sometimes(values: Tensor, otherwise: float, *, share: float) -> Tensor:
        return torch.where(draw(0, 1) < share, values, otherwise)

    grid = one.new_tensor([-3, -1, 0, 1, 3])
    whole = grid[integers((2, n), 5, rng=rng, like=one)]
    part = torch.stack([draw(-3.5, 3.5), draw(-3.5, 3.5)])
    shift = torch.where(draw(0, 1) < 0.3, part, whole) * sometimes(one + 1, 0, share=0.6) / 32  # of the side
    # Fractions of a pixel blur small images beyond recognition: there, shifts are whole pixels.
    dy, dx = ((shift[i] * s).round() / s if s < 16 else shift[i] for i, s in enumerate((h, w)))
    angle = sometimes(draw(-0.18, 0.18), 0, share=0.25)  # radians
    zoom = sometimes(draw(0.92, 1.08), 1, share=0.1)
    mirror = sometimes(one - 1, 1, share=0.5)
    views = warped(images, angle=angle, dy=dy, dx=dx, zoom=zoom, mirror=mirror, padding="border")

    contrast = sometimes(draw(0.8, 1.25), 1, share=0.15).view(-1, 1, 1, 1)
    brightness = sometimes(draw(0.75, 1.3), 1, share=0.25).view(-1, 1, 1, 1)
    mean = views.mean(dim=(1, 2, 3), keepdim=True)
    views = ((views - mean) * contrast + mean) * brightness
    sigma = sometimes(draw(0, 0.04), 0, share=0.3).view(-1, 1, 1, 1)
    noise = torch.randn(views.shape, generator=rng, device=rng.device).to(views)
    views = (views + sigma * noise).clamp(0, 1)

    compressed = (draw(0, 1) < 0.3).view(-1, 1, 1, 1)
    return torch.where(compressed, jpeg(views, draw(40, 95)), views)


def _shift(images: Tensor, dy: int, dx: int) -> Tensor:
    """Move the picture down by dy and right by dx pixels; the uncovered edge repeats the last row or column."""
    _, _, h, w = images.shape
    rows = (torch.arange(h, device=images.device) - dy).clamp(0, h - 1)
    columns = (torch.arange(w, device=images.device) - dx).clamp(0, w - 1)
    return images[:, :, rows][:, :, :, columns]


def warped(
    images: Tensor, *, angle: Tensor, dy: Tensor, dx: Tensor, zoom: Tensor, mirror: Tensor, padding: str
) -> Tensor:
    """Rotate (radians), shift (fractions of the side), zoom (factor) and mirror (−1 or 1) each image, bilinearly."""
    _, _, h, w = images.shape
    cos, sin = torch.cos(angle) / zoom, torch.sin(angle) / zoom
    # Output to input in coordinates from -1 to 1; h/w keeps a rotation a rotation where the image is not square.
    top = torch.stack([cos * mirror, sin * (h / w) * mirror, -2 * dx], 1)
    bottom = torch.stack([-sin * (w / h), cos, -2 * dy], 1)
    field = F.affine_grid(torch.stack([top, bottom], 1), list(images.shape), align_corners=False)
    return F.grid_sample(images, field, padding_mode=padding, align_corners=False).clamp(0, 1)
