"""Targets of the method beside what is measured. Settings were chosen on other seeds than these."""

import statistics
from dataclasses import dataclass, field

from benchmarks.columns import COLUMNS
from benchmarks.results import Row, for_all_seeds, is_current
from benchmarks.tables import Variant

WORST_OF_RUNS = ("A_f", "A_f of the worst round")  # the worst run counts; of everything else the mean


@dataclass(frozen=True, kw_only=True)
class Target:
    """Limits for one variant of the method, at every k and for every model."""

    title: str
    variant: Variant = field(default_factory=Variant)
    least: dict[str, float] = field(default_factory=dict)  # of benchmarks.columns.COLUMNS
    most: dict[str, float] = field(default_factory=dict)
    ks: tuple[int, ...]
    models: tuple[str, ...] = ("resnet20",)
    devices: tuple[str, ...] = ("cpu", "cuda")  # that with present settings, and of those that with most seeds
    relative_to: Variant | None = None  # limits are for the quotient by this variant's figures


EXACT, VIEWS, PEER = Variant(), Variant(method="structguard/views"), Variant(method="l2ul")
PUBLISHED = ("resnet20", "resnet56")

TARGETS = [
    Target(
        title="CIFAR-10, scope `exact`",
        models=PUBLISHED,
        ks=(16, 64, 128, 256),
        least={"A_f": 100},
        most={"drop": 0.5},
    ),
    Target(title="the same, many images", models=PUBLISHED, ks=(1024,), least={"A_f": 100}, most={"drop": 1.5}),
    Target(
        title="scope `views`",
        variant=VIEWS,
        models=PUBLISHED,
        ks=(16, 64, 128, 256),
        least={"robust A_f": 95},
        most={"drop": 1.0},
    ),
    Target(title="one image, three images", ks=(1, 3), least={"A_f": 100}, most={"drop": 0.1}),
    Target(
        title="ten rounds of 16",
        variant=Variant(rounds=10),
        ks=(160,),
        least={"A_f of the worst round": 100},
        most={"drop": 1.0},
    ),
    Target(
        title="membership inference, against test images that are also wrong",
        ks=(64, 256),
        most={"∣AUC − 0.5∣ wrong": 0.1},
    ),
    Target(
        title="the same for the goal `indistinguishable`, against all unseen test images",
        variant=Variant(method="structguard/indistinguishable"),
        ks=(64, 256),
        most={"∣AUC − 0.5∣ unseen": 0.05},
    ),
    Target(
        title="structural collapse, as a share of L2UL's",
        ks=(64, 256),
        most={"collapse": 0.1},
        relative_to=PEER,
    ),
    Target(title="CPU time, as a share of L2UL's", ks=(256,), most={"CPU seconds": 1 / 20}, relative_to=PEER),
    Target(
        title="the paper's ResNet-18, scope `exact`",  # its StructGuard drops by 8.2, 23.1, 34.2 and 36.3 points
        models=("resnet18",),
        devices=("cuda",),
        ks=(16, 64, 128, 256),
        least={"A_f": 100},
        most={"drop": 0.5},
    ),
]


def render(measured: list[Row]) -> str:
    """The targets with what is measured beside them, a Markdown table."""
    lines = [
        f"| {target.title} | k = {', '.join(map(str, target.ks))} | {_limits(target)} | {_measured(target, measured)} |"
        for target in TARGETS
    ]
    return "\n".join(["| | | target | measured |", "|---|---|---|---|", *lines, ""])


def _limits(target: Target) -> str:
    limits = [f"{name} ≥ {limit:g}" for name, limit in target.least.items()]
    return "; ".join([*limits, *(f"{name} ≤ {limit:g}" for name, limit in target.most.items())])


def _measured(target: Target, measured: list[Row]) -> str:
    parts = [_result(target, measured, model=model, k=k) for model in target.models for k in target.ks]
    results = [part for part in parts if part]
    missing = len(parts) - len(results)
    if not results:
        return "not measured"
    return "<br>".join([*results, *([f"{missing} of {len(parts)} not measured"] if missing else [])])


def _result(target: Target, measured: list[Row], *, model: str, k: int) -> str | None:
    """The result for one model and k: whether every limit holds, and the figures; None if not measured."""

    def rows_of(variant: Variant, device: str) -> list[Row]:
        return for_all_seeds(measured, variant.run(dataset="cifar10", model=model, k=k, seed=0, device=device))

    def peers(device: str) -> list[Row]:
        return rows_of(target.relative_to, device) if target.relative_to else []

    measurements = [(device, rows_of(target.variant, device), peers(device)) for device in target.devices]
    measurements = [m for m in measurements if m[1] and (m[2] or not target.relative_to)]
    if not measurements:
        return None
    device, rows, peer_rows = max(measurements, key=lambda m: (all(map(is_current, m[1])), len(m[1])))
    on = "" if device == "cpu" else f" on {device}"
    figures, holds = list[str](), True
    for name, limit in (target.least | target.most).items():
        values = [value for row in rows if (value := COLUMNS[name].value(row)) is not None]
        if not values:
            return None
        figure = min(values) if name in WORST_OF_RUNS else statistics.mean(values)
        if peer_rows:
            figure /= statistics.mean(COLUMNS[name].value(row) or 0.0 for row in peer_rows)
        holds = holds and (figure >= limit if name in target.least else figure <= limit)
        figures.append(f"{name} {figure:z.{3 if peer_rows else COLUMNS[name].digits}f}")
    verdict, mark = "met" if holds else "missed", "" if all(map(is_current, rows)) else " †"
    return f"{verdict}: {model}{on}, k = {k}, {', '.join(figures)} (n = {len(rows)}){mark}"
