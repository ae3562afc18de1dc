"""Images that stand in for the retained ones nobody gave us (the paper's D_s), made from the forget set or nothing.

Every maker returns float images in [0, 1] and draws from a generator only.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from worker.unlearning.batch import integers, uniform
from worker.unlearning.split import SplitClassifier

_LEAVES = 48  # per image: enough to cover it


def mixup(images: Tensor, count: int, *, rng: torch.Generator) -> Tensor:
    """Weighted sums of two altered images, neither with more than 70 %: (N, C, H, W) -> (count, C, H, W)."""
    weight = uniform((count, 1, 1, 1), 0.3, 0.7, rng=rng, like=images)
    mixed = weight * _altered(images, count, rng=rng) + (1 - weight) * _altered(images, count, rng=rng)
    return _jitter(mixed, rng=rng)


def cutmix(images: Tensor, count: int, *, rng: torch.Generator) -> Tensor:
    """A rectangle of one altered image, a fifth to half of the area, over another: -> (count, C, H, W)."""
    _, _, h, w = images.shape
    share = uniform((count,), 0.2, 0.5, rng=rng, like=images).sqrt()  # of each side
    top = uniform((count,), 0, 1, rng=rng, like=images) * (1 - share)
    left = uniform((count,), 0, 1, rng=rng, like=images) * (1 - share)
    inside = (_between(top, share, h)[:, :, None] & _between(left, share, w)[:, None])[:, None]  # (count, 1, H, W)
    cut = torch.where(inside, _altered(images, count, rng=rng), _altered(images, count, rng=rng))
    return _jitter(cut, rng=rng)


def dead_leaves(images: Tensor, count: int, *, rng: torch.Generator) -> Tensor:
    """Overlapping discs of random grey or colour (Ruderman 1997), with natural images' edges: -> (count, C, H, W).

    Takes only the size from `images`, no pixel.
    """
    _, c, h, w = images.shape
    y = torch.arange(h, device=images.device).view(1, h, 1) / h
    x = torch.arange(w, device=images.device).view(1, 1, w) / w
    canvas = uniform((count, c, 1, 1), 0, 1, rng=rng, like=images).expand(count, c, h, w)
    for _ in range(_LEAVES):
        cy, cx = (uniform((count, 1, 1), -0.1, 1.1, rng=rng, like=images) for _ in range(2))
        # Areas follow a power law, so that no size dominates: radii from 0.05 to 0.35 of the side.
        radius = 0.05 / uniform((count, 1, 1), 0.02, 1, rng=rng, like=images).sqrt()
        colour = uniform((count, c, 1, 1), 0, 1, rng=rng, like=images)
        disc = ((y - cy) ** 2 + (x - cx) ** 2 < radius**2)[:, None]  # (count, 1, H, W)
        canvas = torch.where(disc, colour, canvas)
    return canvas


def adversarial(
    model: SplitClassifier,
    images: Tensor,
    labels: Tensor,
    *,
    eps: float,
    step: float,
    iterations: int,
    rng: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Targeted L2-PGD: images (N, C, H, W) within `eps` of the given ones, and the classes (N,) they aim at.

    `eps` and `step` are L2 norms over pixels in [0, 1]. Starts at a random point of the ball, as the peers do.
    The caller keeps the model in eval mode.
    """
    targets = wrong_classes(model, images, labels, rng=rng)
    noise = torch.randn(images.shape, generator=rng, device=rng.device).to(images)
    delta = _unit(noise) * uniform((len(images), 1, 1, 1), 0, eps, rng=rng, like=images)
    for _ in range(iterations):
        x = (images + delta).clamp(0, 1).requires_grad_()
        loss = F.cross_entropy(model(x), targets, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, x)
        delta = x.detach() - images - step * _unit(gradient)
        delta = delta * (eps / _norms(delta).clamp_min(1e-12)).clamp(max=1)
    return (images + delta).clamp(0, 1), targets


@torch.no_grad()
def wrong_classes(model: SplitClassifier, images: Tensor, labels: Tensor, *, rng: torch.Generator) -> Tensor:
    """One class per image, never its label: half of them the runner-up, half uniform over the others. -> (N,)."""
    logits = model(images)
    runner_up = logits.scatter(1, labels[:, None], float("-inf")).argmax(1)
    shift = 1 + integers(labels.shape, logits.shape[1] - 1, rng=rng, like=labels)
    uniform_wrong = (labels + shift) % logits.shape[1]
    nearest = uniform(labels.shape, 0, 1, rng=rng, like=images) < 0.5
    return torch.where(nearest, runner_up, uniform_wrong)


def _altered(images: Tensor, count: int, *, rng: torch.Generator) -> Tensor:
    """`count` random picks, most as they are, the others flipped or not and rolled by up to a quarter of the image.

    Where position matters, only mixtures of pictures in place look like pictures: they hold what lies between them.
    """
    _, _, h, w = images.shape
    picked = images[integers((count,), len(images), rng=rng, like=images)]
    moved = uniform((count, 1), 0, 1, rng=rng, like=images) < 0.3
    flip = moved & (uniform((count, 1), 0, 1, rng=rng, like=images) < 0.5)
    picked = torch.where(flip[:, :, None, None], picked.flip(3), picked)
    dy = integers((count, 1), h // 2 + 1, rng=rng, like=images) - h // 4
    dx = integers((count, 1), w // 2 + 1, rng=rng, like=images) - w // 4
    rows = (torch.arange(h, device=images.device) + dy * moved) % h  # (count, H)
    columns = (torch.arange(w, device=images.device) + dx * moved) % w  # (count, W)
    picked = picked.gather(2, rows[:, None, :, None].expand_as(picked))
    return picked.gather(3, columns[:, None, None, :].expand_as(picked))


def _jitter(images: Tensor, *, rng: torch.Generator) -> Tensor:
    """Random contrast, brightness and colour cast."""
    n, c, _, _ = images.shape
    contrast = uniform((n, 1, 1, 1), 0.7, 1.6, rng=rng, like=images)  # mixing two images costs contrast
    brightness = uniform((n, 1, 1, 1), -0.1, 0.1, rng=rng, like=images)
    cast = uniform((n, c, 1, 1), 0.85, 1.15, rng=rng, like=images)
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    return (((images - mean) * contrast + mean + brightness) * cast).clamp(0, 1)


def _between(start: Tensor, share: Tensor, size: int) -> Tensor:
    """Which of `size` cells lie in [start, start + share) of the side: (N,), (N,) -> (N, size) bool."""
    cell = (torch.arange(size, device=start.device) + 0.5) / size
    return (cell >= start[:, None]) & (cell < (start + share)[:, None])


def _norms(x: Tensor) -> Tensor:
    norms: Tensor = torch.linalg.vector_norm(x, dim=(1, 2, 3), keepdim=True)
    return norms


def _unit(x: Tensor) -> Tensor:
    return x / _norms(x).clamp_min(1e-12)
