"""The figures of a table, each taken from a row of results."""

import math
import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.results import Row

Value = Callable[[Row], float | None]


@dataclass(frozen=True)
class Column:
    """How a figure is read from a row, and with how many decimals it is shown."""

    value: Value
    digits: int = 2


def spread(values: Iterable[float | None], *, digits: int) -> str:
    """Mean ± sample standard deviation of the values that are not None, with their number if that is not all."""
    all_values = list(values)
    present = [value for value in all_values if value is not None]
    if not present:
        return "–"
    text = f"{statistics.mean(present):z.{digits}f}"
    if len(present) > 1:
        text += f" ± {statistics.stdev(present):.{digits}f}"
    return text if len(present) == len(all_values) else f"{text} (n = {len(present)})"


def _at(*path: str) -> Value:
    def value(row: Row) -> float | None:
        node: Any = row
        for name in path:
            if (node := node.get(name)) is None:
                return None
        return None if math.isnan(node) else float(node)  # of a network that is not finite any more

    return value


def _drop(row: Row) -> float:
    return float(row["test_accuracy_before"] - row["test_accuracy"])


def _worst_round(row: Row) -> float | None:
    return float(min(row["by_round"][-1]["forget_accuracy"])) if row["by_round"] else None


def _of_class(row: Row) -> float | None:
    return None if row["forgotten_class"] is None else float(row["test_accuracy_by_class"][row["forgotten_class"]])


def _drop_of_others(row: Row) -> float | None:
    if row["forgotten_class"] is None:
        return None
    both = zip(row["test_accuracy_by_class_before"], row["test_accuracy_by_class"], strict=True)
    return float(statistics.mean(old - new for c, (old, new) in enumerate(both) if c != row["forgotten_class"]))


COLUMNS: Mapping[str, Column] = {
    "A_f": Column(_at("forget_accuracy")),
    "A_f of the worst round": Column(_worst_round),
    "robust A_f": Column(_at("robust_forget_accuracy")),
    "A_test": Column(_at("test_accuracy")),
    "A_test of the class": Column(_of_class),
    "drop": Column(_drop),
    "drop of the others": Column(_drop_of_others),
    "A_r": Column(_at("retain_accuracy")),
    "collapse": Column(_at("collapse"), digits=4),
    "mean collapse": Column(_at("mean_collapse"), digits=4),
    "∣AUC − 0.5∣ unseen": Column(_at("membership", "unseen", "advantage"), digits=3),
    "∣AUC − 0.5∣ wrong": Column(_at("membership", "unseen_misclassified", "advantage"), digits=3),
    "relearning steps": Column(_at("relearning", "steps"), digits=1),
    "relearned unshown": Column(_at("relearning", "generalises")),
    "cosine": Column(_at("similarity", "cosine"), digits=4),
    "CKA": Column(_at("similarity", "cka"), digits=4),
    "agreement": Column(_at("similarity", "agreement")),
    **{
        f"{name} {queries}": Column(_at("retrieval", queries, key))
        for queries in ("retained", "forgotten")
        for name, key in (
            ("R@1", "recall_at_1"),
            ("R@5", "recall_at_5"),
            ("R@10", "recall_at_10"),
            ("mAP", "mean_average_precision"),
        )
    },
    "updates": Column(_at("updates"), digits=0),
    "seconds": Column(_at("seconds"), digits=1),
    "CPU seconds": Column(_at("cpu_seconds"), digits=1),
    "peak MiB": Column(_at("peak_memory"), digits=0),
    **{f"{name}, s": Column(_at("phases", name)) for name in ("surrogates", "setup", "updates", "checks", "finish")},
    "measuring, s": Column(_at("evaluation_seconds")),
}
"""By heading. Accuracies, recalls and agreement are in percent, drops in points."""
