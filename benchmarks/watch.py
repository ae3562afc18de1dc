"""Measurements during a run of a method: time, updates and structural collapse."""

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch

from worker.unlearning import Step

BETWEEN_PROBES = 10  # updates


@dataclass
class Watch:
    """Measurements during a run of a method. Only the time inside `next` counts, not that of measuring."""

    device: str
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    updates: int = 0
    curve: list[tuple[int, float]] = field(default_factory=lambda: [(0, 0.0)])  # updates, structural collapse
    phases: dict[str, float] = field(default_factory=dict)  # seconds

    def follow(self, steps: Iterator[Step], collapse: Callable[[], float]) -> None:
        """Run the method to its end."""
        before, timed_steps = self.updates, list[tuple[Step, float]]()
        while True:
            wall, cpu = time.perf_counter(), time.process_time()
            step = next(steps, None)
            if self.device.startswith("cuda"):
                torch.cuda.synchronize()
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            self.seconds, self.cpu_seconds = self.seconds + wall, self.cpu_seconds + cpu
            if step is None:
                break
            timed_steps.append((step, wall))
            if step.phase == "unlearn":
                self.updates = before + step.step
                if step.forget_accuracy is not None and self.updates >= self.curve[-1][0] + BETWEEN_PROBES:
                    self.curve.append((self.updates, collapse()))
        if self.updates == self.curve[-1][0] and len(self.curve) > 1:
            self.curve.pop()  # the model has moved since, for instance along a line search
        self.curve.append((self.updates, collapse()))
        for phase, seconds in phases(timed_steps).items():
            self.phases[phase] = self.phases.get(phase, 0.0) + seconds


def phases(timed_steps: list[tuple[Step, float]]) -> dict[str, float]:
    """Seconds by kind of work. Checks and setup are what a step takes beyond the median of plain updates.

    Methods that check after every update have no such updates; there, checks count as updates.
    """
    surrogates = sum(seconds for step, seconds in timed_steps if step.phase == "surrogates")
    work = [(step, seconds) for step, seconds in timed_steps if step.phase == "unlearn"]
    if not work:
        return {"surrogates": surrogates}
    *updates, (_, finish) = work
    unchecked = [seconds for step, seconds in updates[1:] if step.forget_accuracy is None]
    median = statistics.median(unchecked or [seconds for _, seconds in updates[1:]] or [0.0])
    setup = max(0.0, updates[0][1] - median) if updates else 0.0
    checked = [seconds for step, seconds in updates[1:] if step.forget_accuracy is not None] if unchecked else []
    checks = sum(checked) - median * len(checked)
    total = sum(seconds for _, seconds in updates)
    return {
        "surrogates": surrogates,
        "setup": setup,
        "updates": total - setup - checks,
        "checks": checks,
        "finish": finish,
    }
