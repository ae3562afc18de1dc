"""StructGuard (arXiv 2603.12915): make a classifier misclassify given images while its structure stays."""

import math
import time
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from worker.unlearning.anchors import make_structure
from worker.unlearning.batch import Batch, shuffled
from worker.unlearning.config import Config
from worker.unlearning.goal import Progress, make_goal
from worker.unlearning.line_search import nearest_holding
from worker.unlearning.objective import Objective, make_objective
from worker.unlearning.pool import Pool, build_pool
from worker.unlearning.split import SplitClassifier
from worker.unlearning.step import Step
from worker.unlearning.views import training_views


def unlearn(
    model: SplitClassifier, forget: Batch, *, anchors: Tensor | None, config: Config, rng: torch.Generator
) -> Iterator[Step]:
    """Change `model` in place until it misclassifies `forget`; yield after every piece of work.

    Ends after `config.max_steps` updates or `config.max_seconds` at the latest, and where the loss stops being a
    number. The last Step says what was reached: below 100 the request was not fulfilled, and nothing is raised for
    that. A consumer may stop at any time; finished or closed, the model is in eval mode and holds no gradients.
    On a CPU the result depends on the inputs and the state of `rng` only, unless the time limit cuts in.

    Args:
        model: the classifier, on the device of the images, in float32.
        forget: distinct images with their labels, one or more.
        anchors: (b, a), one vector per class in the order of the classes; None takes the classifier's own rows.
        config: DEFAULT, PAPER or a variation.
        rng: where all randomness comes from.

    Raises ValueError if the anchors do not fit the classes or the network cannot be split.
    """
    deadline = time.monotonic() + config.max_seconds
    model.eval()
    try:
        pool = yield from build_pool(model, forget, config=config, rng=rng, deadline=deadline)
        centre = pool.features.mean(0)
        structure = make_structure(anchors, rows=model.head.weight, centre=centre, raw=config.raw_anchors, rng=rng)
        objective = make_objective(model, pool, structure, config=config, rng=rng)
        yield from _optimise(model, forget, pool, objective, rng=rng, deadline=deadline)
    finally:
        model.zero_grad(set_to_none=True)
        model.eval()


def _optimise(
    model: SplitClassifier, forget: Batch, pool: Pool, objective: Objective, *, rng: torch.Generator, deadline: float
) -> Iterator[Step]:
    config = objective.config
    goal = make_goal(forget, config=config, rng=rng)
    original = [p.detach().clone() for p in model.parameters()]
    trained = [*model.parameters(), *([] if objective.projector is None else objective.projector.parameters())]
    optimiser = _optimiser(trained, config)
    forget_indices = shuffled(len(forget), _forget_size(forget, config), rng=rng, like=forget.labels)
    surrogate_indices = shuffled(len(pool.pixels), config.surrogate_batch, rng=rng, like=pool.labels)

    progress, step, ended = goal.progress(model), 0, False
    while not (progress.reaches(config.view_target) or ended):
        step += 1
        optimiser.param_groups[0]["lr"] = config.lr + (config.lr_end - config.lr) * (step - 1) / config.max_steps
        index = next(forget_indices)
        seen = Batch(_seen(forget.images[index], config, rng=rng), forget.labels[index])
        model.train(not config.frozen_batch_norm)
        with torch.autocast(forget.images.device.type, torch.bfloat16, enabled=config.bfloat16):
            terms = objective.terms(model, seen, pool, next(surrogate_indices), step=step)
        loss = torch.stack(list(terms.values())).sum()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if config.clip is not None:
            nn.utils.clip_grad_norm_(trained, config.clip)
        optimiser.step()

        values = dict(zip(terms, torch.stack(list(terms.values())).tolist(), strict=True))
        ended = step == config.max_steps or time.monotonic() > deadline or not math.isfinite(sum(values.values()))
        if checked := ended or step % config.check_every == 0:
            progress = goal.progress(model)
        yield _report(step, config, progress if checked else None, values)

    if progress.held and step and config.line_search:
        reached = progress.views or 0.0
        nearest_holding(
            list(model.parameters()),
            original,
            lambda: goal.progress(model).reaches(reached),
            bisections=config.line_search,
        )
        progress = goal.progress(model)
    yield _report(step, config, progress, {})


def _forget_size(forget: Batch, config: Config) -> int:
    """Views of one image differ, so few images still fill a batch; copies of it do not."""
    return config.forget_batch if config.scope == "views" else min(len(forget), config.forget_batch)


def _seen(images: Tensor, config: Config, *, rng: torch.Generator) -> Tensor:
    """What the deletion term sees of the forget images, (N, C, H, W); in scope "views" a quarter stays exact."""
    if config.scope == "exact":
        return images
    exact = max(1, len(images) // 4)
    return torch.cat([images[:exact], training_views(images[exact:], rng=rng)])


def _optimiser(parameters: list[nn.Parameter], config: Config) -> torch.optim.Optimizer:
    if config.optimiser == "adam":
        return torch.optim.Adam(parameters, lr=config.lr, weight_decay=config.weight_decay)
    return torch.optim.SGD(parameters, lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay)


def _report(step: int, config: Config, progress: Progress | None, terms: dict[str, float]) -> Step:
    return Step(
        phase="unlearn",
        step=step,
        total=config.max_steps,
        forget_accuracy=None if progress is None else 100 * progress.forgotten,
        view_accuracy=None if progress is None or progress.views is None else 100 * progress.views,
        terms=terms,
    )
