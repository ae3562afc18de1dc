"""StructGuard (arXiv 2603.12915): make a classifier misclassify given images while its structure stays."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn

from worker.unlearning.anchors import make_structure
from worker.unlearning.batch import Batch, shuffled
from worker.unlearning.config import Config
from worker.unlearning.frozen_trunk import Tail, training_the_last
from worker.unlearning.goal import Goal, Progress, make_goal, take_aim
from worker.unlearning.line_search import nearest_holding
from worker.unlearning.objective import Objective, make_objective
from worker.unlearning.pool import Pool, build_pool
from worker.unlearning.split import SplitClassifier
from worker.unlearning.step import Step


def unlearn(
    model: SplitClassifier,
    forget: Batch,
    *,
    anchors: Tensor | None = None,
    unseen: Tensor | None = None,
    config: Config,
    rng: torch.Generator,
) -> Iterator[Step]:
    """Change `model` in place until `config.goal` is reached for `forget`; yield after every piece of work.

    Once the goal is reached, the run settles: the learning rate falls to 0 in `config.settling` updates, which mend
    what reaching it tore, and the last weights seen to hold the goal are kept. Where that was much (`config.max_churn`,
    goal "misclassify"), the run starts over as `config.gentler()`; if this does not get there, what was reached stands.
    A network without BatchNorm, on which nothing shows how much that was, is spared the usual way from the beginning.
    For the goal "indistinguishable" it settles from the first update on, in twice as many.
    Ends after `config.max_steps` updates without the goal or after `config.max_seconds`, and where the loss stops being
    a number. The last Step says what was reached: below 100 the request was not fulfilled, and nothing is raised for
    that. A consumer may stop at any time; finished or closed, the model is in eval mode and holds no gradients.
    On a CPU the result depends on the inputs and the state of `rng` only, unless the time limit cuts in.

    Args:
        model: the classifier, on the device of the images, in float32.
        forget: distinct images with their labels, one or more.
        anchors: (b, a), one vector per class in the order of the classes; None takes the classifier's own rows.
        unseen: margins (n,) of `model` on images it was not trained on, in logits, the standard of the goal
            "indistinguishable"; None takes those on variations of the forget images. "misclassify" needs none.
        config: DEFAULT, PAPER or a variation.
        rng: where all randomness comes from.

    Raises ValueError if the anchors do not fit the classes or the network cannot be split.
    """
    config = config.sized(len(forget))
    deadline = time.monotonic() + config.max_seconds
    model.eval()
    try:
        with training_the_last(model, share=config.trained), _channels_last(model):
            goal = make_goal(model, forget, unseen=unseen, config=config, rng=rng)
            tail = Tail(model, forget.images[:2], dtype=torch.bfloat16 if config.bfloat16 else torch.float32)
            pool = yield from build_pool(model, tail, forget, config=config, rng=rng, deadline=deadline)
            if config.inverted and not pool.inverted.any() and goal.targets is None:
                config = config.gentler()  # nothing would show how much the usual settings damage
            rows, centre = model.head.weight, pool.features.mean(0)
            structure = make_structure(anchors, rows=rows, centre=centre, raw=config.raw_anchors, rng=rng)
            objective = make_objective(tail.classifier, pool, structure, config=config, rng=rng)
            yield from _optimise(model, tail, goal, pool, objective, rng=rng, deadline=deadline)
    finally:
        model.zero_grad(set_to_none=True)
        model.eval()


def _optimise(
    model: SplitClassifier,
    tail: Tail,
    goal: Goal,
    pool: Pool,
    objective: Objective,
    *,
    rng: torch.Generator,
    deadline: float,
) -> Iterator[Step]:
    config = objective.config
    moving = [p for p in model.parameters() if p.requires_grad]
    trained = [*moving, *([] if objective.projector is None else objective.projector.parameters())]
    original = [p.detach().clone() for p in trained]
    optimiser = _optimiser(trained, config)
    batches = take_aim(tail, goal, config=config, rng=rng)
    surrogates = shuffled(len(pool.labels), config.surrogate_batch, rng=rng, like=pool.labels)

    progress, step, pressed_steps = goal.progress(model), 0, 0
    reached, last = _schedule(goal, config)
    reached_weights: list[Tensor] = []  # the last weights seen to reach it
    ended = progress.reaches(config.view_target)
    while not ended:
        step += 1
        # While it settles, only what was lost again is pressed for; and what is to be met rather than passed, evenly.
        pressed_steps += goal.targets is None and not progress.reaches(config.view_target)
        optimiser.param_groups[0]["lr"] = _rate(step, reached, last, config)
        model.eval()  # what is in front of the trained part makes views into inputs, and learns nothing from them
        aims = next(batches)
        model.train(not config.frozen_batch_norm)
        pressure = config.deletion_weight * config.deletion_growth ** (max(0, pressed_steps - 1) / 100)
        terms = objective.terms(tail.classifier, aims, pool, next(surrogates), pressure=pressure)
        loss = torch.stack(list(terms.values())).sum()
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        if config.clip is not None:
            nn.utils.clip_grad_norm_(trained, config.clip)
        optimiser.step()

        values = dict(zip(terms, torch.stack(list(terms.values())).tolist(), strict=True))
        ended = step == last or time.monotonic() > deadline or not math.isfinite(sum(values.values()))
        if checked := ended or step % config.check_every == 0:
            progress = goal.progress(model)
            if progress.reaches(config.view_target):
                reached_weights = [p.detach().clone() for p in moving]
                if reached is None and not ended and _torn(goal, pool, tail, config):
                    config = config.gentler()
                    objective = replace(objective, config=config)
                    _restore(trained, original)
                    optimiser, pressed_steps, last = _optimiser(trained, config), 0, step + config.max_steps
                elif reached is None:
                    reached, last = step, step + config.settling
                ended = ended or step == last
        yield _report(step, last, progress if checked else None, values)

    if reached_weights:
        _restore(moving, reached_weights)
        progress = goal.progress(model)
    if progress.held and step and config.line_search:
        views = progress.views or 0.0
        nearest_holding(
            moving,
            original[: len(moving)],
            lambda: goal.progress(model).reaches(views),
            bisections=config.line_search,
        )
        progress = goal.progress(model)
    yield _report(step, last, progress, {})


def _schedule(goal: Goal, config: Config) -> tuple[int | None, int]:
    """The step after which the learning rate falls, None where that is only once the goal is reached; the last step.

    Targets are not passed but met, which takes ever smaller steps.
    """
    if goal.targets is None or not config.settling:
        return None, config.max_steps
    return 0, min(config.max_steps, 2 * config.settling)


def _torn(goal: Goal, pool: Pool, tail: Tail, config: Config) -> bool:
    """Whether the run changed so many surrogate labels (`max_churn`) that it should start over with `gentler` settings.

    Never with targets: they are reached in small steps anyway.
    """
    return goal.targets is None and pool.churn(tail.classifier) > config.max_churn


@torch.no_grad()
def _restore(parameters: list[nn.Parameter], values: list[Tensor]) -> None:
    for p, value in zip(parameters, values, strict=True):
        p.copy_(value)


def _rate(step: int, reached: int | None, last: int, config: Config) -> float:
    """The learning rate of `step`: linearly up to `lr`, and from the step `reached` on down to 0 behind the `last`."""
    settled = 0.0 if reached is None else (step - reached) / (last - reached + 1)
    return config.lr * min(1.0, step / max(1, config.warm_up)) * (1 - settled)


def _optimiser(parameters: list[nn.Parameter], config: Config) -> torch.optim.Optimizer:
    if config.optimiser == "adam":
        return torch.optim.Adam(parameters, lr=config.lr, weight_decay=config.weight_decay)
    return torch.optim.SGD(parameters, lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay)


def _report(step: int, total: int, progress: Progress | None, terms: dict[str, float]) -> Step:
    return Step(
        phase="unlearn",
        step=step,
        total=total,
        forget_accuracy=None if progress is None else 100 * progress.forgotten,
        view_accuracy=None if progress is None or progress.views is None else 100 * progress.views,
        terms=terms,
    )


@contextmanager
def _channels_last(model: nn.Module) -> Iterator[None]:
    """Inside, convolutions find their weights in the layout in which they are fastest; no value changes."""
    model.to(memory_format=torch.channels_last)
    try:
        yield
    finally:
        model.to(memory_format=torch.contiguous_format)
