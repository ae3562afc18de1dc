"""A thread that does the same work again and again, for as long as the process runs."""

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta

from prometheus_client import Gauge

logger = logging.getLogger(__name__)

Step = Callable[[], object]

_JITTER = 0.1  # of the interval, so that processes that were started together do not stay together
_MAX_BACK_OFF = timedelta(seconds=15)


class PeriodicThread:
    """Takes a turn when it starts, one every `interval` from then on, and one at once whenever it is woken.

    A turn is one or several steps, each of which is tried although another one has failed: the database or the broker
    may come back, and a thread that gave up would not. Failures are logged, and the pause after a turn that failed is
    twice the pause before it, up to `max_back_off` (or `interval`, if that is longer).

    Args:
        name: the thread's, in the log and in the label of `last_success`.
        steps: what a turn does, in this order.
        when_woken: which of them a turn does that comes early because of `wake`; by default all.
        last_success: set to the time (seconds since 1970) when a regular turn ends in which no step has failed.
    """

    def __init__(
        self,
        name: str,
        steps: Sequence[Step],
        interval: timedelta,
        last_success: Gauge,
        *,
        when_woken: Sequence[Step] | None = None,
        max_back_off: timedelta = _MAX_BACK_OFF,
    ) -> None:
        self.stopping = False  #: for a step that takes long: it may end early
        self._steps = steps
        self._when_woken = steps if when_woken is None else when_woken
        self._interval = interval.total_seconds()
        self._max_pause = max(interval, max_back_off).total_seconds()
        self._last_success = last_success.labels(name)
        self._woken = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin; the first turn comes at once."""
        self._thread.start()

    def wake(self) -> None:
        """Take a turn now. During a turn this means another one, which sees what was committed before this call."""
        self._woken.set()

    def stop(self) -> None:
        """Finish the turn in progress, for which this waits up to 10 seconds."""
        self.stopping = True
        self._woken.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        pause, due = self._interval, time.monotonic()
        while True:
            # Cleared before `stopping` and the work are read: whatever changes after that causes another turn.
            self._woken.clear()
            if self.stopping:
                return
            if time.monotonic() < due:  # a wake does not put off the next regular turn, however many there are
                self._run_steps(self._when_woken)
            else:
                if self._run_steps(self._steps):
                    self._last_success.set_to_current_time()
                    pause = self._interval
                else:
                    pause = min(2 * pause, self._max_pause)
                due = time.monotonic() + pause * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311  (no secret)
            self._woken.wait(max(0, due - time.monotonic()))

    def _run_steps(self, steps: Sequence[Step]) -> bool:
        failures = 0
        for step in steps:
            try:
                step()
            except Exception:
                failures += 1
                logger.exception("the %s could not finish its turn", self._thread.name)
        return not failures
