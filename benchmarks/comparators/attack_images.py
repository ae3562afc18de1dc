"""ADV: climb the loss of the forget set while its attacked copies hold the boundary in place."""

import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.comparators.descent import Descent, Terms, iterate, leaving_clean, sgd
from worker.unlearning.batch import Batch, shuffled
from worker.unlearning.losses import ascent
from worker.unlearning.split import SplitClassifier
from worker.unlearning.step import Step
from worker.unlearning.surrogates import attacks


@dataclass(frozen=True, kw_only=True)
class Adv(Descent):
    """The source's run scripts for CIFAR-10; for CIFAR-100 and ImageNet they make 200 attacks per image."""

    adversarial: int = 20  # attack images per forget image, N_adv
    adversarial_eps: float = 4.0  # L2 norm over pixels in [0, 1]
    adversarial_step: float = 0.1  # the same unit
    adversarial_iterations: int = 100
    surrogate_batch: int = 256  # attack images per update, all of them where they are fewer


def adv(model: SplitClassifier, forget: Batch, *, config: Adv, rng: torch.Generator) -> Iterator[Step]:
    """Minimise −CE on forget images plus CE on attack images with their target labels; a generator like `unlearn`.

    Source: Cha et al., "Learning to Unlearn: Instance-wise Unlearning for Pre-trained Classifiers" (AAAI 2024),
    without its importance term ("Case 2" of its code). See `attack_terms` for the weights of the two terms.

    Where we deviate from that code: an attack never aims at the image's own label (its repair of such draws can
    end there) and half of them aim at the runner-up class; the attack images are shuffled, so that one update does
    not see copies of a few forget images only.

    Raises ValueError if `config` asks for no attack image.
    """
    deadline = time.monotonic() + config.max_seconds
    with leaving_clean(model):
        attacks = yield from attack_images(model, forget, config=config, rng=rng, deadline=deadline)
        terms = attack_terms(model, forget, attacks, config=config, rng=rng)
        yield from iterate(model, forget, terms, sgd(model, config).step, config=config, rng=rng, deadline=deadline)


def attack_images(
    model: SplitClassifier, forget: Batch, *, config: Adv, rng: torch.Generator, deadline: float
) -> Generator[Step, None, Batch]:
    """Attack each forget image `config.adversarial` times, reporting each chunk; returns images with their targets.

    After `deadline` (of `time.monotonic`) no further chunk is started, but there is always a first one.
    The caller keeps the model in eval mode.
    """
    done, total = 0, len(forget) * config.adversarial
    if total == 0:
        raise ValueError("at least one attack image is needed")
    chunks: list[tuple[Tensor, Tensor]] = []
    for chunk in attacks(
        model,
        forget,
        per_image=config.adversarial,
        eps=config.adversarial_eps,
        step=config.adversarial_step,
        iterations=config.adversarial_iterations,
        rng=rng,
    ):
        chunks.append(chunk)
        done += len(chunk[1])
        yield Step(phase="surrogates", step=done, total=total)
        if time.monotonic() > deadline:
            break
    images, targets = (torch.cat(column) for column in zip(*chunks, strict=True))
    return Batch(images, targets)


def attack_terms(model: SplitClassifier, forget: Batch, attacks: Batch, *, config: Adv, rng: torch.Generator) -> Terms:
    """−CE on b_f forget images and CE on b_a attack images, weighted by b_f/(b_f + b_a) and b_a/(b_f + b_a)."""
    batches = shuffled(len(attacks), min(len(attacks), config.surrogate_batch), rng=rng, like=attacks.labels)

    def terms(index: Tensor) -> dict[str, Tensor]:
        attacked = next(batches)
        share = len(index) / (len(index) + len(attacked))
        retention = F.cross_entropy(model(attacks.images[attacked]), attacks.labels[attacked])
        deletion = ascent(model(forget.images[index]), forget.labels[index])
        return {"deletion": share * deletion, "retention": (1 - share) * retention}

    return terms
