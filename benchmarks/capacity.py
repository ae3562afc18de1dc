"""How many workers hold a promise of one hour? `python -m benchmarks.capacity` simulates the queue.

Requests arrive at random moments (a Poisson process), for models of which few get most (Zipf's law). As in the
service, a free worker takes the job that has waited longest, and jobs of one model run one after the other. A run takes
every request of its model that waits, up to `--batch` images, as `STRUCTGUARD_BATCH_IMAGES` has it.

What a run takes is fitted to what was measured, present settings only: for k images, seconds of one CPU core, or with
`--device cuda` seconds beside the other runs of that campaign, plus what a job needs besides.
"""

import argparse
import heapq
from collections import deque
from dataclasses import dataclass

import numpy as np

from benchmarks.results import RESULTS, for_all_seeds, is_current, rows
from benchmarks.tables import TABLES

KS = (1, 3, 16, 64, 128, 256)  # images to forget, of the runs that count
_DAY = 86_400.0  # seconds


@dataclass(frozen=True)
class Request:
    """An accepted deletion request."""

    at: float  # seconds since the beginning
    model: int
    images: int


@dataclass(frozen=True)
class Cost:
    """Seconds of one run."""

    fixed: float
    per_image: float

    def of(self, images: int) -> float:
        """Seconds of a run that forgets so many images."""
        return self.fixed + self.per_image * images


def fitted_cost(model: str, *, method: str, device: str, overhead: float) -> Cost:
    """Fit the cost to the results on CIFAR-10; `overhead` is what a job needs besides unlearning, in seconds."""
    runs = [
        TABLES["table2"].variants[method].run(dataset="cifar10", model=model, k=k, seed=0, device=device) for k in KS
    ]
    results = rows(RESULTS)
    matches = [row for run in runs for row in for_all_seeds(results, run) if is_current(row)]
    if len({row["k"] for row in matches}) < 2:
        raise SystemExit(f"no line fits: {method} on {device} was measured with present settings at fewer than two k")
    seconds = "cpu_seconds" if device == "cpu" else "seconds"
    per_image, fixed = np.polyfit([row["k"] for row in matches], [row[seconds] for row in matches], 1)
    return Cost(float(fixed) + overhead, float(per_image))


def arrivals(rng: np.random.Generator, *, per_day: float, days: float, models: int, images: float) -> list[Request]:
    """Requests in order of arrival; `images` is the mean of a geometric distribution."""
    count = rng.poisson(per_day * days)
    weights = 1 / np.arange(1, models + 1)
    model_of = rng.choice(models, size=count, p=weights / weights.sum())
    times = np.sort(rng.uniform(0, days * _DAY, size=count))
    image_counts = rng.geometric(1 / images, size=count)
    columns = zip(times.tolist(), model_of.tolist(), image_counts.tolist(), strict=True)
    return [Request(at=at, model=model, images=images) for at, model, images in columns]


@dataclass
class Outcome:
    """The result of a simulation."""

    workers: int
    seconds: list[float]  # of each, from its arrival to its new version
    busy: float = 0.0  # seconds of all workers

    def percentile(self, percent: float) -> float:
        """The percentile of the seconds that requests took, in [0, 100]."""
        return float(np.percentile(self.seconds, percent))


def simulate(requests: list[Request], *, workers: int, cost: Cost, batch: int) -> Outcome:
    """Serve all requests. `batch` is how many images a run takes at most; 0: those of one request."""
    outcome = Outcome(workers, [])
    waiting: dict[int, deque[Request]] = {}  # by model
    running: list[tuple[float, int]] = []  # when each run ends, and its model
    coming = deque(requests)
    now = 0.0
    while coming or waiting or running:
        free = waiting.keys() - {model for _, model in running} if len(running) < workers else set()
        if free:
            model = min(free, key=lambda candidate: waiting[candidate][0].at)
            batch_requests = _take(waiting[model], batch)
            if not waiting[model]:
                del waiting[model]
            duration = cost.of(sum(request.images for request in batch_requests))
            heapq.heappush(running, (now + duration, model))
            outcome.busy += duration
            outcome.seconds += (now + duration - request.at for request in batch_requests)
        elif coming and (not running or coming[0].at <= running[0][0]):
            request = coming.popleft()
            now = request.at
            waiting.setdefault(request.model, deque()).append(request)
        else:
            now, _ = heapq.heappop(running)
    return outcome


def _take(queue: deque[Request], batch: int) -> list[Request]:
    batch_requests = [queue.popleft()]
    while queue and sum(request.images for request in batch_requests) + queue[0].images <= batch:
        batch_requests.append(queue.popleft())
    return batch_requests


def fewest(requests: list[Request], *, cost: Cost, batch: int, promise: float, max_workers: int) -> Outcome | None:
    """The outcome with the fewest workers that serve 99 % of the requests within `promise` seconds; None if none do."""
    for workers in range(1, max_workers + 1):
        outcome = simulate(requests, workers=workers, cost=cost, batch=batch)
        if outcome.percentile(99) <= promise:
            return outcome
    return None


def main() -> None:
    """Print one table, as Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.capacity", description=__doc__)
    parser.add_argument("--per-day", type=float, nargs="+", default=[1, 100, 1000, 10_000], help="requests")
    parser.add_argument("--models", type=int, nargs="+", default=[1, 100])
    parser.add_argument("--batch", type=int, nargs="+", default=[0, 256], help="images in one run; 0: one request")
    parser.add_argument("--images", type=float, default=4, help="in a request, on average")
    parser.add_argument("--promise", type=float, default=3600, help="seconds")
    parser.add_argument("--requests", type=int, default=20_000, help="simulated in each row, of 10,000 days at most")
    parser.add_argument("--most", type=int, default=64, help="workers")
    parser.add_argument("--like", default="resnet20", help="whose measured runs they are")
    parser.add_argument("--overhead", type=float, default=15, help="seconds of a job besides unlearning")
    parser.add_argument("--method", default="structguard/views", help="a row of table2")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="where they were measured")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    cost = fitted_cost(arguments.like, method=arguments.method, device=arguments.device, overhead=arguments.overhead)
    print(f"A run takes {cost.fixed:.0f} s and {cost.per_image:.2f} s for each image.\n")
    print("| requests/day | models | images in a run | workers | p50 | p99 | worker seconds for each request |")
    print("|---|---|---|---|---|---|---|")
    for per_day in arguments.per_day:
        for models in arguments.models:
            rng = np.random.default_rng(arguments.seed)
            days = min(arguments.requests / per_day, 10_000)
            requests = arrivals(rng, per_day=per_day, days=days, models=models, images=arguments.images)
            for batch in arguments.batch:
                # More workers than models are idle: jobs of one model run one after the other.
                max_workers = min(arguments.most, models)
                outcome = fewest(requests, cost=cost, batch=batch, promise=arguments.promise, max_workers=max_workers)
                row = f"| {per_day:,.0f} | {models} | {batch or 'one request'} "
                if outcome is None:
                    print(f"{row}| none is enough | | | |", flush=True)
                    continue
                p50, p99 = (outcome.percentile(percent) / 60 for percent in (50, 99))
                per_request = outcome.busy / len(requests)
                print(f"{row}| {outcome.workers} | {p50:.1f} min | {p99:.1f} min | {per_request:.0f} |", flush=True)


if __name__ == "__main__":
    main()
