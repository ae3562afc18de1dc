"""What each command measures: a grid of runs, and what its table shows of them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from benchmarks import methods
from benchmarks.run import ANCHORS, Anchors, Run
from worker.unlearning import PAPER

Overrides = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One row of a table, for each k."""

    method: str = "structguard"
    overrides: Overrides = field(default_factory=dict)
    anchors: Anchors | None = None  # None = those that the data set usually has
    rounds: int = 1
    drawn: Literal["anywhere", "from one class"] = "anywhere"

    def run(self, *, dataset: str, model: str, k: int, seed: int, device: str) -> Run:
        """The run of this row, without overrides that equal the defaults, so that tables share results."""
        defaults = methods.METHODS[self.method]
        return Run(
            dataset=dataset,
            model=model,
            method=self.method,
            overrides={name: value for name, value in self.overrides.items() if getattr(defaults, name) != value},
            anchors=self.anchors or ANCHORS.get(dataset, "rows"),
            k=k,
            rounds=self.rounds,
            drawn=self.drawn,
            seed=seed,
            device=device,
        )


@dataclass(frozen=True, kw_only=True)
class Table:
    """A command and its table."""

    title: str
    note: str  # what the rows vary
    variants: Mapping[str, Variant]  # by the label of the row
    columns: tuple[str, ...]  # of columns.COLUMNS
    ks: tuple[int, ...]
    dataset: str = "cifar10"
    model: str = "resnet20"
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)


def _paper(*names: str) -> Overrides:
    """These settings as in the profile `paper`."""
    return {name: getattr(PAPER, name) for name in names}


ABLATIONS: dict[str, Overrides] = {
    "as it is": {},
    "without alignment": {"alignment_weight": 0.0},
    "without importance": {"importance_weight": 0.0},
    "without elastic net": {"elastic_l1": 0.0, "elastic_l2": 0.0},
    "without these three": {
        "alignment_weight": 0.0,
        "importance_weight": 0.0,
        "elastic_l1": 0.0,
        "elastic_l2": 0.0,
    },
    "without retention": {"retention_weight": 0.0},
    "unbounded ascent, not the hinge": _paper("deletion", "deletion_weight", "deletion_growth"),
    "constant pressure": _paper("deletion_growth"),
    "stops when misclassified": _paper("stop_margin"),
    "hard labels, not logits": _paper("retention", "retention_weight"),
    "attacked images as surrogates": _paper(
        "mixup",
        "cutmix",
        "bent",
        "adversarial",
        "adversarial_eps",
        "adversarial_step",
        "adversarial_iterations",
    ),
    "no MixUp": {"mixup": 0},
    "no CutMix": {"cutmix": 0},
    "no bent images": {"bent": 0},
    "nothing inverted": {"inverted": 0},
    "BatchNorm in training mode": _paper("frozen_batch_norm"),
    "SGD": _paper("optimiser", "lr", "weight_decay", "clip"),
    "does not settle": _paper("settling"),
    "hinge margin 1": {"margin": 1.0},
    "a hundredth of the importance": {"importance_weight": 0.1},
    "with a line search": {"line_search": 10},
    "anchors and features not centred": _paper("raw_anchors"),
    "with the projector": _paper("projector"),
    "importance as in Eq. 4": {"importance": "gradient"},
    "alignment over anchors": {"alignment_axis": "columns"},
}
"""Each term of StructGuard removed and each of our changes undone, one at a time."""

COST = ("updates", "seconds", "peak MiB")
FORGETTING = ("A_f", "robust A_f", "A_test", "drop", "A_r", "collapse")
COMPARED = ("structguard", "structguard/paper", "l2ul")

TABLES: dict[str, Table] = {
    "table2": Table(
        title="All methods",
        note="Table 2 of the paper, with what it does not show: altered copies, collapse, membership inference, cost.",
        variants={name: Variant(method=name) for name in methods.METHODS},
        columns=(*FORGETTING, "∣AUC − 0.5∣ wrong", "seconds", "peak MiB"),
        ks=(16, 64, 128, 256),
    ),
    "tiny_k": Table(
        title="One image, three images",
        note="The requests that a service gets most.",
        variants={name: Variant(method=name) for name in (*COMPARED, "structguard/views")},
        columns=(*FORGETTING, "seconds"),
        ks=(1, 3),
    ),
    "privacy": Table(
        title="What gives forgotten images away",
        note="Two-sided membership inference of the best attack, against unseen images and those among them that the "
        "model gets wrong too; relearning; how much of the original model is left on the test images.",
        variants={name: Variant(method=name) for name in methods.METHODS},
        columns=(
            "∣AUC − 0.5∣ unseen",
            "∣AUC − 0.5∣ wrong",
            "relearning steps",
            "relearned unshown",
            "cosine",
            "CKA",
            "agreement",
        ),
        ks=(64, 256),
    ),
    "retrieval": Table(
        title="Retrieval",
        note="Figure 5 of the paper: a retained image, or a forgotten one, searches a gallery of retained images by "
        "the cosine of their features. Retained queries should find their class, forgotten ones should not.",
        variants={name: Variant(method=name) for name in ("before", "adv", *COMPARED, "structguard/views")},
        columns=("R@1 retained", "R@10 retained", "mAP retained", "R@1 forgotten", "R@10 forgotten", "mAP forgotten"),
        ks=(256,),
    ),
    "ablation": Table(
        title="Ablation",
        note="Table 5 of the paper, and each of our changes undone, one at a time.",
        variants={label: Variant(overrides=overrides) for label, overrides in ABLATIONS.items()},
        columns=(*FORGETTING, *COST),
        ks=(64,),
    ),
    "anchor_types": Table(
        title="Anchors",
        note="Table 4 of the paper: what the stakes are made of.",
        variants={
            "CLIP, class names": Variant(anchors="clip"),
            "MiniLM, descriptions": Variant(anchors="minilm"),
            "rows of the classifier": Variant(anchors="rows"),
            "random": Variant(anchors="random"),
            "visual prototypes of retained images": Variant(anchors="prototypes"),
        },
        columns=FORGETTING,
        ks=(64,),
    ),
    "alignment_losses": Table(
        title="Alignment losses",
        note="Table 6 of the paper.",
        variants={
            kind: Variant(overrides={"alignment": kind}) for kind in ("cosine", "mse", "mmd", "kl", "wasserstein")
        },
        columns=FORGETTING,
        ks=(64,),
    ),
    "rounds": Table(
        title="Ten rounds of requests",
        note="The same images in ten requests, one after the other, and in one.",
        variants={
            f"{name}, {label}": Variant(method=name, rounds=rounds)
            for name in ("structguard", "structguard/views", "l2ul")
            for label, rounds in (("ten rounds", 10), ("one", 1))
        },
        columns=("A_f", "A_f of the worst round", "robust A_f", "A_test", "drop", "collapse", "seconds"),
        ks=(160,),
    ),
    "class_level": Table(
        title="A whole class, from a sample of it",
        note="All images to forget are of one class, which is another one for each seed.",
        variants={name: Variant(method=name, drawn="from one class") for name in (*COMPARED, "structguard/views")},
        columns=("A_f", "A_test of the class", "drop of the others", "collapse", "seconds"),
        ks=(256,),
    ),
    "vit": Table(
        title="A vision transformer",
        note="No convolution, no BatchNorm.",
        variants={name: Variant(method=name) for name in ("before", "neggrad", "adv", *COMPARED, "structguard/views")},
        columns=(*FORGETTING, "seconds", "peak MiB"),
        ks=(16, 64, 256),
        dataset="fashion-mnist",
        model="vit",
    ),
    "scaling": Table(
        title="Time against k",
        note="Until every image is misclassified, or the method's limit is reached.",
        variants={name: Variant(method=name) for name in COMPARED},
        columns=("A_f", "drop", "updates", "seconds", "CPU seconds", "peak MiB"),
        ks=(16, 64, 256, 1024),
    ),
    "profile_time": Table(
        title="Where the time goes",
        note="Seconds. Measuring the result is not part of the method.",
        variants={name: Variant(method=name) for name in (*COMPARED, "structguard/views")},
        columns=("surrogates, s", "setup, s", "updates, s", "checks, s", "finish, s", "seconds", "measuring, s"),
        ks=(64,),
    ),
}


def grid(
    table: Table,
    *,
    dataset: str,
    model: str,
    ks: Iterable[int],
    seeds: Iterable[int],
    labels: Iterable[str],
    device: str,
) -> list[Run]:
    """The runs of a table, seed by seed, so that every row has its first result early."""
    ks, labels = list(ks), list(labels)
    return [
        table.variants[label].run(dataset=dataset, model=model, k=k, seed=seed, device=device)
        for seed in seeds
        for k in ks
        for label in labels
    ]
