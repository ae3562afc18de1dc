"""What is counted is counted once, by whoever, and never shrinks."""

import threading
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from service.registry.job_queue import claims, jobs
from service.registry.storage.database import Database
from service.registry.tables import Tally
from service.registry.telemetry import counters
from service.registry.telemetry.counters import Count, CounterName
from tests.service.registry.given_reasons import A_TEST_FELL, BROKEN
from tests.service.registry.given_rows import claim, model_with_version, publish, request


def counts(database: Database) -> dict[tuple[str, str], Count]:
    with database.read() as session:
        return counters.read(session)


def rows(database: Database) -> int:
    with database.read() as session:
        return session.scalars(select(func.count()).select_from(Tally)).one()


def many(database: Database, seconds: tuple[float, ...], times: int = 1) -> None:
    with database.write() as session:
        for _ in range(times):
            for each in seconds:
                counters.add(session, CounterName.PHASE_SECONDS, "load", seconds=each)


def test_events_are_counted_by_label_and_measured_by_bucket(database: Database) -> None:
    many(database, (0.1, 0.2, 7201.0))
    with database.write() as session:
        counters.add(session, CounterName.JOBS_ENDED, "failed")
    found = counts(database)
    assert found["jobs_ended", "failed"].count == 1
    phase = found["phase_seconds", "load"]
    assert (phase.count, phase.total) == (3, pytest.approx(7201.3))
    assert phase.buckets == {0.1: 1, 0.25: 1, None: 1}  # an upper bound belongs to its bucket


def test_what_is_rolled_back_did_not_happen(database: Database) -> None:
    with database.write() as session:
        counters.add(session, CounterName.JOBS_ENDED, "failed")
        session.rollback()
    assert counts(database) == {}


def test_folding_leaves_a_few_rows_and_changes_no_count(database: Database) -> None:
    many(database, (0.1, 3.0, 9999.0), times=200)
    before = counts(database)
    assert rows(database) == 600
    with database.write() as session:
        counters.fold(session)
    assert (rows(database), counts(database)) == (3, before)
    with database.write() as session:
        counters.fold(session)  # too few to bother
    many(database, (0.1,))
    assert counts(database)["phase_seconds", "load"].count == 601


def test_whoever_reads_while_others_count_and_fold_sees_it_grow(database: Database) -> None:
    """Two that fold at a time, one that adds: no reading is below the one before, and the last is all of it."""
    done = threading.Event()

    def fold() -> None:
        while not done.is_set():
            with database.write() as session:
                counters.fold(session)

    def add() -> None:
        for _ in range(15):
            many(database, (1.0,), times=100)
        done.set()

    workers = [threading.Thread(target=each) for each in (fold, fold, add)]
    for worker in workers:
        worker.start()
    seen = [0]
    while not done.is_set():
        seen.append(counts(database).get(("phase_seconds", "load"), Count()).count)
    for worker in workers:
        worker.join()
    assert seen == sorted(seen)
    assert counts(database)["phase_seconds", "load"].count == 1500


def test_lives_of_jobs_are_counted_where_they_end(database: Database) -> None:
    """Published, objected to, failed and lost; the streak of objections ends with a run that passes."""
    with database.write() as session:
        model = model_with_version(session)
        for _ in range(5):
            request(session, model)
    streaks = []
    for objections in ([A_TEST_FELL], [A_TEST_FELL], []):
        held = claim(database)
        with database.write() as session:
            publish(session, held, objections=objections)
        with database.read() as session:
            streaks.append(jobs.read(session, held.job_id).model.gate_failures)
    assert streaks == [1, 2, 0]
    held = claim(database)
    with database.write() as session:
        claims.report_crash(session, held, reason=BROKEN, max_attempts=3)
    held = claim(database)
    with database.write() as session:
        claims.report_failure(session, held, reason=BROKEN)
    found = {key: count.count for key, count in counts(database).items()}
    assert found == {
        ("jobs_ended", "completed"): 1,
        ("jobs_ended", "needs_review"): 2,
        ("jobs_ended", "failed"): 1,
        ("requests_ended", "completed"): 1,
        ("requests_ended", "needs_review"): 2,
        ("requests_ended", "failed"): 1,
        ("attempts_lost", "process_died"): 1,
        ("phase_seconds", "load"): 3,
    }


def test_a_lease_that_runs_out_is_a_lost_attempt(database: Database) -> None:
    with database.write() as session:
        request(session, model_with_version(session))
    claim(database, lease=timedelta(seconds=-1))
    with database.write() as session:
        claims.reap(session, max_attempts=3)
    assert counts(database)["attempts_lost", "lease_expired"].count == 1
