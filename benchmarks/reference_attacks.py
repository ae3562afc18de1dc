"""Attacks with reference models on networks for the digits: `python -m benchmarks.reference_attacks`.

For each seed, so many reference networks are trained on random halves of the training images, never on one that is to
be forgotten, and the test images are the unseen ones. Prints a Markdown table of AUCs: 1 = recognised as trained on,
0 = given away by having been forgotten, 0.5 = cannot tell.
"""

import argparse
import copy
import statistics
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from benchmarks import methods
from benchmarks.data import Dataset, dataset
from benchmarks.networks import classifier
from worker import digits
from worker.unlearning import Batch, SplitClassifier, batch_margins, outputs
from worker.unlearning.membership import References, membership
from worker.unlearning.references import log_odds

ROWS = ("before", "structguard", "structguard/views", "structguard/indistinguishable")
ATTACKS = ("loss", "margin", "lira", "rmia")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reference_attacks", description=__doc__)
    parser.add_argument("--k", type=int, default=64, help="images to forget")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--references", type=int, default=8, help="reference networks")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # the networks are so small that a second thread only waits for the first
    results = [attack(arguments.k, seed, arguments.references) for seed in arguments.seeds]
    print(f"| k = {arguments.k}, {arguments.references} references, {len(results)} seeds | {' | '.join(ATTACKS)} |")
    print("|" + "---|" * (len(ATTACKS) + 1))
    for row in ROWS:
        print(f"| {row} | {' | '.join(_spread([aucs[row][name] for aucs in results]) for name in ATTACKS)} |")


def attack(k: int, seed: int, count: int) -> dict[str, dict[str, float]]:
    """AUCs against all unseen images, by row and attack, with `count` reference networks."""
    data = dataset("digits")
    order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(seed)).numpy()
    forget, unseen = data.train.batch(order[:k]), data.test.everything()
    model = classifier("resnet8", data)
    networks = list(reference_networks(data, order[k:], seed, count))
    odds = (torch.stack([log_odds(outputs(m, x.images)[1], x.labels) for m in networks]) for x in (forget, unseen))
    references = References(*odds)
    return {row: _aucs(_unlearned(model, row, forget, unseen, seed), forget, unseen, references) for row in ROWS}


def reference_networks(data: Dataset, retained: np.ndarray, seed: int, count: int) -> Iterator[SplitClassifier]:
    """Networks like the one that is attacked, each from a random half of the retained images."""
    for number in range(count):
        rng = torch.Generator().manual_seed(1000 * (seed + 1) + number)
        half = retained[torch.randperm(len(retained), generator=rng)[: len(retained) // 2].numpy()]
        images = data.train.batch(half)
        x = (images.images - torch.tensor(data.mean)) / torch.tensor(data.std)
        yield SplitClassifier(digits.train(x, images.labels, seed=number + 1), mean=data.mean, std=data.std).eval()


def _unlearned(model: SplitClassifier, row: str, forget: Batch, unseen: Batch, seed: int) -> SplitClassifier:
    model = copy.deepcopy(model)
    steps = methods.steps(
        methods.settings(row, {}),
        model,
        forget,
        retained=lambda: forget,  # none of these methods calls it
        unseen=lambda: batch_margins(model, Batch(unseen.images[::2], unseen.labels[::2])),
        anchors=None,
        rng=torch.Generator().manual_seed(seed),
    )
    for _ in steps:
        pass
    return model


def _aucs(model: SplitClassifier, forget: Batch, unseen: Batch, references: References) -> dict[str, float]:
    """The odd unseen images are the controls: the even ones are the standard of the goal "indistinguishable"."""
    odd = slice(1, None, 2)
    logits: list[Tensor] = [outputs(model, x.images)[1] for x in (forget, unseen)]
    of_odd = References(references.forget, references.unseen[:, odd])
    inference = membership(logits[0], forget.labels, logits[1][odd], unseen.labels[odd], references=of_odd).unseen
    assert inference is not None
    return {name: inference.attacks[name].auc for name in ATTACKS}


def _spread(values: Sequence[float]) -> str:
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{spread}"


if __name__ == "__main__":
    main()
