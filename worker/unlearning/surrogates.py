"""Surrogates (the paper's D_s) for the retained images, which are not available: made from the forget set.

Every maker returns float images in [0, 1] and draws from a generator only.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worker.unlearning.batch import Batch, integers, uniform
from worker.unlearning.split import SplitClassifier
from worker.unlearning.views import warped

_ATTACKED = 128  # images at a time
_MOVED = 0.3
_BENT = 0.3  # how far an entry of the linear map is from the identity's
_WAVES = 0.2  # of half the side
_STROKE = 0.7  # of the way to the brightest, or darkest, neighbour
_INVERSION_STEP = 0.0055  # root mean square over the pixels of an image
_INVERSION_MOMENTUM = 0.7
_INVERSION_CLASS = 0.1  # weight of the class against that of the statistics


def mixup(images: Tensor, count: int, *, moved: float = _MOVED, rng: torch.Generator) -> Tensor:
    """Weighted sums of two images, neither with more than 70 %: (N, C, H, W) -> (count, C, H, W).

    `moved` is the share of the images that are moved and maybe flipped before. Where position matters, only mixtures
    of pictures in place look like pictures: they hold what lies between them. What is to be forgotten in all its
    variations had better not be held in place.
    """
    weight = uniform((count, 1, 1, 1), 0.3, 0.7, rng=rng, like=images)
    first, second = (_altered(images, count, moved=moved, rng=rng) for _ in range(2))
    mixed = weight * first + (1 - weight) * second
    return _jitter(mixed, rng=rng)


def cutmix(images: Tensor, count: int, *, moved: float = _MOVED, rng: torch.Generator) -> Tensor:
    """A rectangle of one image, a fifth to half of the area, over another; `moved` as in `mixup`: -> (count, …)."""
    _, _, h, w = images.shape
    share = uniform((count,), 0.2, 0.5, rng=rng, like=images).sqrt()  # of each side
    top = uniform((count,), 0, 1, rng=rng, like=images) * (1 - share)
    left = uniform((count,), 0, 1, rng=rng, like=images) * (1 - share)
    inside = (_between(top, share, h)[:, :, None] & _between(left, share, w)[:, None])[:, None]  # (count, 1, H, W)
    first, second = (_altered(images, count, moved=moved, rng=rng) for _ in range(2))
    return _jitter(torch.where(inside, first, second), rng=rng)


def collage(images: Tensor, count: int, *, rng: torch.Generator) -> Tensor:
    """Two enlarged, turned cut-outs side by side or one above the other: (N, C, H, W) -> (count, C, H, W).

    Real textures and edges with little left of the composition that made a picture the one it was.
    """
    _, _, h, w = images.shape
    share = uniform((count,), 0.25, 0.75, rng=rng, like=images)
    beside = uniform((count, 1, 1), 0, 1, rng=rng, like=images) < 0.5
    left = (torch.arange(w, device=images.device) + 0.5) / w < share[:, None]  # (count, W)
    top = (torch.arange(h, device=images.device) + 0.5) / h < share[:, None]  # (count, H)
    first = torch.where(beside, left[:, None, :], top[:, :, None])[:, None]  # (count, 1, H, W)
    return _jitter(torch.where(first, _cut_out(images, count, rng=rng), _cut_out(images, count, rng=rng)), rng=rng)


def bent(images: Tensor, count: int, *, rng: torch.Generator) -> Tensor:
    """Single images, randomly deformed: (N, C, H, W) -> (count, C, H, W).

    A random linear map near the identity turns, scales and shears each of them, a shift moves it by up to a twelfth of
    the side, smooth waves bend it, and what is bright grows thicker or thinner. A mixture of two photographs is nearly
    a photograph, but one of two drawings is no drawing.
    """
    _, c, h, w = images.shape

    def draw(*size: int, limit: float) -> Tensor:
        return uniform((count, *size), -limit, limit, rng=rng, like=images)

    picked = images[integers((count,), len(images), rng=rng, like=images)]
    linear = torch.eye(2, device=images.device) + draw(2, 2, limit=_BENT)
    affine = torch.cat([linear, draw(2, 1, limit=1 / 6)], 2)  # coordinates run from -1 to 1
    waves = F.interpolate(draw(2, 4, 4, limit=_WAVES), (h, w), mode="bicubic").movedim(1, -1)
    field = F.affine_grid(affine, [count, c, h, w], align_corners=False) + waves
    x = F.grid_sample(picked, field, padding_mode="border", align_corners=False)
    stroke = draw(1, 1, 1, limit=_STROKE)
    grown, shrunk = F.max_pool2d(x, 3, stride=1, padding=1), -F.max_pool2d(-x, 3, stride=1, padding=1)
    return torch.lerp(x, torch.where(stroke > 0, grown, shrunk), stroke.abs()).clamp(0, 1)


def inverted(model: SplitClassifier, images: Tensor, classes: Tensor, *, iterations: int) -> Tensor:
    """Move images (N, C, H, W) towards what the model was trained on and towards `classes` (N,): -> (N, C, H, W).

    DeepInversion (Yin et al. 2020, Eqs. 2-4) in few steps from images that are nearly natural: the batch's mean and
    variance in front of every normalisation layer are pulled to the running statistics of the training set, which a
    network with BatchNorm carries with it. Differs from the source in the distances, which are relative (squared
    difference of means over the variance; squared log ratio of variances), so that no layer dominates; in steps of
    fixed length per image; and in having no image prior, since the start is one.

    Works on whole batches, so hand over some hundred images at a time. The caller keeps the model in eval mode.
    """
    length = _INVERSION_STEP * images[0].numel() ** 0.5
    x = images.to(memory_format=torch.channels_last)
    velocity = torch.zeros_like(x)
    for i in range(iterations):
        x = x.detach().requires_grad_()
        with _mismatch(model) as layers:
            loss = _INVERSION_CLASS * F.cross_entropy(model(x).float(), classes) + torch.stack(layers).mean()
        (gradient,) = torch.autograd.grad(loss, x)
        velocity = _INVERSION_MOMENTUM * velocity + _unit(gradient)
        x = (x.detach() - length * (1 - i / iterations) * velocity).clamp(0, 1)
    return x


def carries_statistics(model: nn.Module) -> bool:
    """Whether the model has BatchNorm layers with running statistics, which `inverted` needs."""
    return next(_normalisations(model), None) is not None


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


def attacks(
    model: SplitClassifier,
    forget: Batch,
    *,
    per_image: int,
    eps: float,
    step: float,
    iterations: int,
    rng: torch.Generator,
) -> Iterator[tuple[Tensor, Tensor]]:
    """`adversarial` images with their targets, `per_image` of each forget image, some hundred at a time."""
    sources = torch.arange(len(forget) * per_image, device=forget.images.device) % len(forget)
    for source in torch.split(sources, _ATTACKED) if per_image else ():
        images, labels = forget.images[source], forget.labels[source]
        yield adversarial(model, images, labels, eps=eps, step=step, iterations=iterations, rng=rng)


@torch.no_grad()
def wrong_classes(model: SplitClassifier, images: Tensor, labels: Tensor, *, rng: torch.Generator) -> Tensor:
    """One class per image, never its label: half of them the runner-up, half uniform over the others. -> (N,)."""
    logits = model(images)
    runner_up = logits.scatter(1, labels[:, None], float("-inf")).argmax(1)
    shift = 1 + integers(labels.shape, logits.shape[1] - 1, rng=rng, like=labels)
    uniform_wrong = (labels + shift) % logits.shape[1]
    nearest = uniform(labels.shape, 0, 1, rng=rng, like=images) < 0.5
    return torch.where(nearest, runner_up, uniform_wrong)


def _normalisations(model: nn.Module) -> Iterator[nn.Module]:
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is not None:  # noqa: SLF001
            yield module


@contextmanager
def _mismatch(model: nn.Module) -> Iterator[list[Tensor]]:
    """How far the statistics in front of each normalisation layer are from the running ones, one scalar per layer."""
    mismatches: list[Tensor] = []

    def compare(layer: nn.Module, inputs: tuple[Tensor]) -> None:
        assert isinstance(layer, nn.modules.batchnorm._BatchNorm)  # noqa: SLF001
        assert layer.running_mean is not None
        assert layer.running_var is not None
        rows = inputs[0].movedim(1, -1).flatten(0, -2)  # (n, C), in channels_last a view
        ones = rows.new_ones(1, len(rows))  # as products with it, sums take a fifth of the time on a CPU
        mean, square = ((ones @ x)[0].float() / len(rows) for x in (rows, rows.square()))
        var = (square - mean.square()).clamp_min(0)
        apart = (mean - layer.running_mean).square() / (layer.running_var + layer.eps)
        ratio = ((var + layer.eps) / (layer.running_var + layer.eps)).log()
        mismatches.append((apart + ratio.square()).mean())

    hooks = [layer.register_forward_pre_hook(compare) for layer in _normalisations(model)]
    try:
        yield mismatches
    finally:
        for hook in hooks:
            hook.remove()


def _cut_out(images: Tensor, count: int, *, rng: torch.Generator) -> Tensor:
    """`count` random picks, enlarged 1.2 to 2.2 times, moved by up to a quarter, turned and maybe mirrored."""
    one = images.new_ones(count)

    def draw(low: float, high: float) -> Tensor:
        return uniform((count,), low, high, rng=rng, like=images)

    picked = images[integers((count,), len(images), rng=rng, like=images)]
    mirror = torch.where(draw(0, 1) < 0.5, -one, one)
    return warped(
        picked,
        angle=draw(-0.3, 0.3),
        dy=draw(-0.25, 0.25),
        dx=draw(-0.25, 0.25),
        zoom=draw(1.2, 2.2),
        mirror=mirror,
        padding="reflection",
    )


def _altered(images: Tensor, count: int, *, moved: float, rng: torch.Generator) -> Tensor:
    """`count` random picks; a share `moved` of them is flipped or not and rolled by up to a quarter of the image.

    Of images smaller than 16 pixels, to which a quarter means more than to a photograph, at most three in ten.
    """
    _, _, h, w = images.shape
    picked = images[integers((count,), len(images), rng=rng, like=images)]
    share = moved if min(h, w) >= 16 else min(moved, _MOVED)
    rolled = uniform((count, 1), 0, 1, rng=rng, like=images) < share
    flip = rolled & (uniform((count, 1), 0, 1, rng=rng, like=images) < 0.5)
    picked = torch.where(flip[:, :, None, None], picked.flip(3), picked)
    dy = integers((count, 1), h // 2 + 1, rng=rng, like=images) - h // 4
    dx = integers((count, 1), w // 2 + 1, rng=rng, like=images) - w // 4
    rows = (torch.arange(h, device=images.device) + dy * rolled) % h  # (count, H)
    columns = (torch.arange(w, device=images.device) + dx * rolled) % w  # (count, W)
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
