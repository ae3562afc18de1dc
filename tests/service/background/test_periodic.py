"""The thread that all background work of the service runs in."""

import threading
import time
from contextlib import contextmanager
from datetime import timedelta
from itertools import pairwise

import pytest
from prometheus_client import CollectorRegistry, Gauge

from service.background.periodic import PeriodicThread
from tests.service.given import wait_for

HOUR = timedelta(hours=1)
TICK = timedelta(seconds=0.01)
NONE = timedelta(0)


@pytest.fixture
def last_success():
    return Gauge("last_success", "of a test", ("thread",), registry=CollectorRegistry())


@pytest.fixture
def thread(last_success):
    @contextmanager
    def run(*steps, interval=HOUR, **more):
        thread = PeriodicThread("test", steps, interval, last_success, **more)
        thread.start()
        try:
            yield thread
        finally:
            thread.stop()

    return run


def test_the_first_turn_comes_at_once_and_others_after_the_interval(thread):
    turns = []
    with thread(lambda: turns.append(1)):
        wait_for(lambda: turns == [1])
    with thread(lambda: turns.append(1), interval=TICK):
        wait_for(lambda: len(turns) > 5)


def test_a_wake_during_a_turn_causes_another_one(thread):
    """That turn may have looked already, so it must not be what the wake is answered by."""
    entered, go_on = threading.Semaphore(0), threading.Semaphore(0)

    def turn():
        entered.release()
        assert go_on.acquire(timeout=60)

    with thread(turn) as woken:
        assert entered.acquire(timeout=60)
        woken.wake()
        go_on.release()
        assert entered.acquire(timeout=60)
        go_on.release()


def test_wakes_without_end_do_not_put_off_the_regular_turn(thread):
    """They take the short turn, and may come more often than the interval."""
    full, short = [], []

    def again():
        short.append(1)
        woken.wake()

    with thread(lambda: full.append(1), again, interval=TICK, when_woken=(again,)) as woken:
        wait_for(lambda: len(full) > 3)
    assert len(short) > len(full)


def test_stop_finishes_the_turn_in_progress_and_takes_no_other(thread):
    entered, go_on, turns = threading.Event(), threading.Event(), []

    def turn():
        entered.set()
        assert go_on.wait(60)
        turns.append(stopped.stopping)

    with thread(turn) as stopped:
        assert entered.wait(60)
        stopped.wake()
        stopping = threading.Thread(target=stopped.stop)
        stopping.start()
        wait_for(lambda: stopped.stopping)
        go_on.set()
        stopping.join(60)
        assert turns == [True]


def test_a_step_that_fails_keeps_no_other_from_being_tried_and_is_logged(thread, caplog):
    turns = []
    with thread(lambda: 1 / 0, lambda: turns.append(1)):
        wait_for(lambda: turns)
    assert "the test could not finish its turn" in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_pauses_double_while_turns_fail_and_no_longer(thread):
    fails, times = True, []

    def turn():
        times.append(time.monotonic())
        if fails:
            raise RuntimeError

    with thread(turn, interval=TICK):
        wait_for(lambda: len(times) > 6)
        fails = False
        pauses = [later - earlier for earlier, later in pairwise(times)]
        for at, pause in enumerate(pauses[:6], start=1):
            assert pause > 0.9 * TICK.total_seconds() * 2**at
        wait_for(lambda: len(times) > 100)  # in a minute, although the last pause was longer than a second


def test_pauses_are_bounded(thread):
    """For what cannot wait, by the interval."""
    times = []

    def turn():
        times.append(1)
        raise RuntimeError

    with thread(turn, interval=TICK, max_back_off=NONE):
        wait_for(lambda: len(times) > 20)


def test_the_last_success_is_told(thread, last_success):
    """Not before the first, and not when a step has failed."""
    fails, turns, began = True, [], time.time()
    value = last_success.labels("test")._value

    def turn():
        turns.append(1)
        if fails:
            raise RuntimeError

    with thread(turn, lambda: None, interval=TICK):
        wait_for(lambda: len(turns) > 2)
        assert value.get() == 0
        fails = False
        wait_for(lambda: value.get() >= began)
