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
    defaults = METHODS[method]
    return defaults and replace(defaults, **overrides)


def as_json(config: Settings | None) -> dict[str, Any]:
    """Settings as they are stored with a result; empty for None."""
    return asdict(config) if config else {}


def steps(
    config: Settings | None,
    model: SplitClassifier,
    forget: Batch,
    *,
    retained: Callable[[], Batch],
    unseen: Callable[[], Tensor],
    anchors: Tensor | None,
    rng: torch.Generator,
) -> Iterator[Step]:
    """The run of a method, as an iterator that changes `model`.

    `retained` is called by the two methods that need retained images, `unseen` (margins) for "indistinguishable" only.
    """
    if config is None:
        return iter(())
    if isinstance(config, Config):
        margins = unseen() if config.goal == "indistinguishable" else None
        return unlearn(model, forget, anchors=anchors, unseen=margins, config=config, rng=rng)
    if retaining := _WITH_RETAINED.get(type(config)):
        return retaining(model, forget, retain=retained(), config=config, rng=rng)
    return _WITHOUT_RETAINED[type(config)](model, forget, config=config, rng=rng)
