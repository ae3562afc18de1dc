"""The surrogate set D_s with everything θ_ori says about it, computed once."""

import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from worker.unlearning.batch import Batch
from worker.unlearning.config import Config
from worker.unlearning.split import SplitClassifier
from worker.unlearning.step import Step
from worker.unlearning.surrogates import adversarial, cutmix, dead_leaves, mixup

_CHUNK = 128  # images made between two reports


@dataclass(frozen=True)
class Pool:
    """N surrogates."""

    pixels: Tensor  # (N, C, H, W) uint8: a quarter of the memory, and values that real images have
    labels: Tensor  # (N,) int64, y_s: the class an attack aimed at, elsewhere the original prediction
    logits: Tensor  # (N, b), of θ_ori
    features: Tensor  # (N, d), of θ_ori

    def images(self, index: Tensor) -> Tensor:
        """Surrogates by index (n,) as floats in [0, 1]: (n, C, H, W)."""
        return self.pixels[index].to(self.features) / 255


def build_pool(
    model: SplitClassifier, forget: Batch, *, config: Config, rng: torch.Generator, deadline: float
) -> Generator[Step, None, Pool]:
    """Make the surrogates `config` asks for, reporting each chunk; returns them.

    After `deadline` (of `time.monotonic`) no further chunk is started, but there is always a first one.
    Raises ValueError if `config` asks for none. The caller keeps the model in eval mode.
    """
    total = config.mixup + config.cutmix + config.dead_leaves + config.adversarial * len(forget)
    if total == 0:
        raise ValueError("at least one surrogate image is needed")
    parts: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
    done = 0
    for images, targets in _chunks(model, forget, config=config, rng=rng):
        pixels = (images * 255).round().to(torch.uint8)
        with torch.no_grad():
            features, logits = model.split(pixels.to(images) / 255)
        parts.append((pixels, logits.argmax(1) if targets is None else targets, logits, features))
        done += len(images)
        yield Step(phase="surrogates", step=done, total=total)
        if time.monotonic() > deadline:
            break
    pixels, labels, logits, features = (torch.cat(column) for column in zip(*parts, strict=True))
    return Pool(pixels, labels, logits, features)


def _chunks(
    model: SplitClassifier, forget: Batch, *, config: Config, rng: torch.Generator
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Surrogate images, with the classes they aim at if they do."""
    for make, count in ((mixup, config.mixup), (cutmix, config.cutmix), (dead_leaves, config.dead_leaves)):
        for start in range(0, count, _CHUNK):
            yield make(forget.images, min(_CHUNK, count - start), rng=rng), None
    attacked = torch.arange(len(forget) * config.adversarial, device=forget.images.device) % len(forget)
    for source in torch.split(attacked, _CHUNK) if len(attacked) else ():
        yield adversarial(
            model,
            forget.images[source],
            forget.labels[source],
            eps=config.adversarial_eps,
            step=config.adversarial_step,
            iterations=config.adversarial_iterations,
            rng=rng,
        )
