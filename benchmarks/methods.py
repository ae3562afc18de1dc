"""Every method under the name it has in the tables, with the settings it is measured with."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor

from benchmarks.comparators import L2UL, RAWP, Adv, Fisher, NegGrad, Oracle, adv, fisher, l2ul, neggrad, oracle, rawp
from worker.unlearning import DEFAULT, PAPER, VIEWS, Batch, Config, SplitClassifier, Step, unlearn

Settings = Config | NegGrad | RAWP | Adv | L2UL | Fisher | Oracle

_PATIENT = 86_400.0  # seconds; whatever a machine makes of them, it is the method that shall end a run

METHODS: dict[str, Settings | None] = {
    "before": None,  # the model as it is
    "oracle": Oracle(),
    "fisher": Fisher(),
    "neggrad": NegGrad(),
    "rawp": RAWP(),
    "adv": Adv(max_seconds=_PATIENT),
    "l2ul": L2UL(max_seconds=_PATIENT),
    "structguard/paper": replace(PAPER, max_seconds=_PATIENT),
    "structguard": DEFAULT,
    "structguard/views": VIEWS,
    "structguard/indistinguishable": replace(DEFAULT, goal="indistinguishable"),
}

_WITHOUT_RETAINED: dict[type, Callable[..., Iterator[Step]]] = {NegGrad: neggrad, RAWP: rawp, Adv: adv, L2UL: l2ul}
_WITH_RETAINED: dict[type, Callable[..., Iterator[Step]]] = {Fisher: fisher, Oracle: oracle}


def settings(method: str, overrides: Mapping[str, Any]) -> Settings | None:
    """The settings of a method with some of them overridden; None for "before", which has none."""
    known = METHODS[method]
    return known and replace(known, **overrides)


def as_json(chosen: Settings | None) -> dict[str, Any]:
    """Settings the way they are stored with a result."""
    return asdict(chosen) if chosen else {}


def steps(
    chosen: Settings | None,
    model: SplitClassifier,
    forget: Batch,
    *,
    retained: Callable[[], Batch],
    unseen: Callable[[], Tensor],
    anchors: Tensor | None,
    rng: torch.Generator,
) -> Iterator[Step]:
    """The run of a method, as an iterator that changes `model`.

    Only two of them ask for retained images, and the goal "indistinguishable" for margins on unseen ones.
    """
    if chosen is None:
        return iter(())
    if isinstance(chosen, Config):
        standard = unseen() if chosen.goal == "indistinguishable" else None
        return unlearn(model, forget, anchors=anchors, unseen=standard, config=chosen, rng=rng)
    if retaining := _WITH_RETAINED.get(type(chosen)):
        return retaining(model, forget, retain=retained(), config=chosen, rng=rng)
    return _WITHOUT_RETAINED[type(chosen)](model, forget, config=chosen, rng=rng)
