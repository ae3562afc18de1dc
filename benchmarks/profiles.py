"""All profiles on the same forget sets: `python -m benchmarks.profiles --k 16 --seeds 0 1 2 3 4`.

The published ResNet-20, CLIP anchors and real CIFAR-10. Prints one JSON line a run, and a table with mean and standard
deviation over the seeds. Settings were chosen on the seeds from 100, which are not for reporting.
"""

import argparse
import json
import statistics
import time
from dataclasses import replace

import torch

from benchmarks import cifar10
from worker.unlearning import DEFAULT, PAPER, Batch, accuracy, forget_accuracy, robust_forget_accuracy, unlearn

PROFILES = {
    "default": replace(DEFAULT, scope="exact"),
    "default/views": replace(DEFAULT, scope="views"),
    "paper": PAPER,
}


def run(profile: str, k: int, seed: int, test: Batch) -> dict[str, float | int | str]:
    """Forget `k` images with this profile; what it cost and what it reached."""
    model = cifar10.resnet20()
    forget = cifar10.batch(*cifar10.forget_set(k, seed=seed))
    before, began = accuracy(model, test), time.perf_counter()
    rng = torch.Generator().manual_seed(seed)
    *_, last = unlearn(model, forget, anchors=cifar10.clip_anchors(), config=PROFILES[profile], rng=rng)
    seconds, views = time.perf_counter() - began, robust_forget_accuracy(model, forget)
    return {
        "profile": profile,
        "k": k,
        "seed": seed,
        "A_f": forget_accuracy(model, forget),
        "robust_A_f": sum(views.values()) / len(views),
        "A_test_before": before,
        "A_test_drop": before - accuracy(model, test),
        "steps": last.step,
        "seconds": seconds,
    }


def main() -> None:
    """Run every profile on every seed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profiles")
    parser.add_argument("--k", type=int, default=16)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--profiles", nargs="+", choices=PROFILES, default=list(PROFILES))
    parser.add_argument("--test-images", type=int, default=10_000)
    chosen = parser.parse_args()
    test = cifar10.batch(*cifar10.first_test_images(chosen.test_images))
    rows = []
    for profile in chosen.profiles:
        results = []
        for seed in chosen.seeds:
            results.append(run(profile, chosen.k, seed, test))
            print(json.dumps(results[-1]), flush=True)
        cells = (
            _spread([float(result[name]) for result in results])
            for name in ("A_f", "robust_A_f", "A_test_drop", "seconds")
        )
        rows.append(f"| {profile} | {chosen.k} | {len(results)} | {' | '.join(cells)} |")
    print(
        "| profile | k | n | A_f | robust A_f | A_test drop | seconds |",
        "|---|---|---|---|---|---|---|",
        *rows,
        sep="\n",
    )


def _spread(values: list[float]) -> str:
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.2f} ± {deviation:.2f}"


if __name__ == "__main__":
    main()
