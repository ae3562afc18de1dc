"""Progress of a job, written to the job table often enough to watch, seldom enough not to slow it down."""

import logging
import math
import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import OperationalError

from service.registry.job_queue import claims
from service.registry.job_queue.claims import Claim
from service.registry.states import Phase
from service.registry.storage.database import Database
from service.registry.telemetry import traces

if TYPE_CHECKING:
    from worker.unlearning import Step

logger = logging.getLogger(__name__)

_WRITE_INTERVAL = 0.5  # seconds between two writes within a phase


def numbers(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same, at any depth, with `None` for NaN and infinities: JSON has none of them and PostgreSQL refuses them."""
    return {name: _number(value) for name, value in values.items()}


def _number(value: Any) -> Any:
    if isinstance(value, Mapping):
        return numbers(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


class ProgressReport:
    """Progress, curves and seconds per phase of one attempt.

    Every write also asks whether to go on, and raises `CancelRequested` or `FenceLost` if not.
    """

    def __init__(self, database: Database, claim: Claim, traceparent: str | None = None) -> None:
        self._database = database
        self._claim = claim
        self._entered = time.monotonic()
        self._written = 0.0
        self._seconds: dict[str, float] = {}
        self._points: list[tuple[int, dict[str, Any]]] = []
        self.phase = Phase.LOAD
        self._traceparent = traceparent
        self._span = ExitStack()

    def enter(self, phase: Phase) -> None:
        """Begin a phase: close the span of the last, and write the new one to the job table."""
        self._seconds = self.seconds()
        self.phase, self._entered = phase, time.monotonic()
        self.close()
        self._span.enter_context(traces.span(phase, parent=self._traceparent))
        self._write(step=0, total=0)

    def step(self, step: "Step", collapse: float | None) -> None:
        """Report a step of unlearning; where A_f was checked, it becomes a point of the curves."""
        phase = Phase(step.phase)
        if phase is not self.phase:
            self.enter(phase)
        if step.forget_accuracy is not None:
            values = {
                "forget_accuracy": step.forget_accuracy,
                "view_accuracy": step.view_accuracy,
                "collapse": collapse,
            }
            self._points.append((step.step, numbers(values | dict(step.terms))))
        if time.monotonic() - self._written >= _WRITE_INTERVAL:
            self._write(step=step.step, total=step.total)

    def evaluation_progress(self, images: int, total: int) -> None:
        """Report how many images of the evaluation sets are done, of `total` over both versions."""
        if time.monotonic() - self._written >= _WRITE_INTERVAL:
            self._write(step=images, total=total)

    def close(self) -> None:
        """End the span of the current phase."""
        self._span.close()

    def seconds(self) -> dict[str, float]:
        """Seconds spent in each phase until now."""
        return self._seconds | {self.phase: time.monotonic() - self._entered}

    def _write(self, *, step: int, total: int) -> None:
        self._written = time.monotonic()
        try:
            with self._database.write() as session:
                claims.record_progress(
                    session, self._claim, phase=self.phase, step=step, total=total, points=self._points
                )
        except OperationalError:
            # A database that restarts must not cost hours of work: the points are written next time, and whether the
            # job is still this worker's is asked again before anything is published.
            logger.warning("job %s: no progress, the database does not answer", self._claim.job_id)
        else:
            self._points = []
