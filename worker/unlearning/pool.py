"""The surrogate set D_s with the outputs of θ_ori on it, computed once."""

import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from worker.unlearning.batch import Batch
from worker.unlearning.config import Config
from worker.unlearning.frozen_trunk import Tail
from worker.unlearning.precision import autocast
from worker.unlearning.split import SplitClassifier
from worker.unlearning.step import Step
from worker.unlearning.surrogates import (
    attacks,
    bent,
    carries_statistics,
    collage,
    cutmix,
    inverted,
    mixup,
)
from worker.unlearning.views import training_views

_CHUNK = 256  # images made between two reports, and inverted together


@dataclass(frozen=True)
class Pool:
    """N surrogates, with the outputs of θ_ori on them."""

    inputs: Tensor  # (N, …) what the trained part of the network takes, as `Tail.inputs` made it
    labels: Tensor  # (N,) int64, y_s: the class an attack aimed at, elsewhere the original prediction
    logits: Tensor  # (N, b), of θ_ori
    features: Tensor  # (N, d), of θ_ori
    inverted: Tensor  # (N,) bool, which of them are likest to training images

    @torch.no_grad()
    def churn(self, classifier: nn.Module) -> float:
        """Share of the inverted surrogates that `classifier` gives another label than θ_ori did; 0 without any.

        What it does to them it does to retained images, far more than what it does to mixtures.
        """
        if not self.inverted.any():
            return 0.0
        now = [classifier(x.float()).argmax(1) for x in torch.split(self.inputs[self.inverted], _CHUNK)]
        return (torch.cat(now) != self.logits[self.inverted].argmax(1)).double().mean().item()


def build_pool(
    model: SplitClassifier, tail: Tail, forget: Batch, *, config: Config, rng: torch.Generator, deadline: float
) -> Generator[Step, None, Pool]:
    """Make the surrogates `config` asks for, reporting each chunk; returns them as inputs of `tail`.

    After `deadline` (of `time.monotonic`) no further chunk is started, but there is always a first one.
    Raises ValueError if `config` asks for none. The caller keeps the model in eval mode.
    """
    plain = config.mixup + config.cutmix + config.collage + config.bent
    total = plain + config.inverted * (1 + config.inverted_views) + config.adversarial * len(forget)
    if total == 0:
        raise ValueError("at least one surrogate image is needed")
    parts: list[tuple[Tensor, Tensor, Tensor, Tensor, Tensor]] = []
    done = 0
    for images, targets, is_inverted in _chunks(model, forget, config=config, rng=rng):
        inputs = tail.inputs(images)
        with torch.no_grad():
            features, logits = tail.classifier.split(inputs.float())
        labels = logits.argmax(1) if targets is None else targets
        parts.append((inputs, labels, logits, features, torch.full_like(labels, is_inverted, dtype=torch.bool)))
        done += len(images)
        yield Step(phase="surrogates", step=done, total=total)
        if time.monotonic() > deadline:
            break
    return Pool(*(torch.cat(column) for column in zip(*parts, strict=True)))


def _chunks(
    model: SplitClassifier, forget: Batch, *, config: Config, rng: torch.Generator
) -> Iterator[tuple[Tensor, Tensor | None, bool]]:
    """Surrogate images, with the classes they aim at if they do, and whether they are inverted."""
    images = forget.images
    mixtures = (
        partial(mixup, images, moved=config.moved, rng=rng),
        partial(cutmix, images, moved=config.moved, rng=rng),
        partial(collage, images, rng=rng),
    )
    makers = (*mixtures, partial(bent, images, rng=rng))
    for make, count in zip(makers, (config.mixup, config.cutmix, config.collage, config.bent), strict=True):
        for size in _sizes(count):
            yield make(size), None, False
    for i, size in enumerate(_sizes(config.inverted)):
        start = mixtures[i % len(mixtures)](size)
        # Without the statistics that BatchNorm carries, inversion would only be one more attack.
        if carries_statistics(model):
            with torch.no_grad():
                classes = model(start).argmax(1)  # another class would make it ambiguous, as few training images are
            with autocast(start.device, bfloat16=config.bfloat16):
                start = inverted(model, start, classes, iterations=config.inversion_iterations)
        yield start, None, carries_statistics(model)
        for _ in range(config.inverted_views):
            yield training_views(start, rng=rng), None, False
    attacked = attacks(
        model,
        forget,
        per_image=config.adversarial,
        eps=config.adversarial_eps,
        step=config.adversarial_step,
        iterations=config.adversarial_iterations,
        rng=rng,
    )
    yield from ((images, targets, False) for images, targets in attacked)


def _sizes(count: int) -> list[int]:
    """`count` in chunks."""
    return [min(_CHUNK, count - start) for start in range(0, count, _CHUNK)]
