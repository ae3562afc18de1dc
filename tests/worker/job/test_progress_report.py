"""What a run reports can be stored anywhere, and waits for a database that is away."""

import math

from sqlalchemy import select

from service.registry.job_queue import jobs
from service.registry.measurements.definitions import CURVES
from service.registry.states import Phase
from service.registry.storage.database import Database
from service.registry.tables import StepMetric
from tests.worker.given_outage import Away, claimed
from worker.job.progress_report import ProgressReport, numbers
from worker.unlearning import Step


def test_numbers_that_json_does_not_have_become_none() -> None:
    reported = {"loss": math.nan, "drift": math.inf, "collapse": 0.5, "retain_accuracy": None, "step": 3}
    assert numbers({"after": reported}) == {"after": numbers(reported)}
    assert numbers(reported) == {"loss": None, "drift": None, "collapse": 0.5, "retain_accuracy": None, "step": 3}


def test_progress_that_cannot_be_written_is_written_with_the_next_one(sqlite: Database) -> None:
    """A database that restarts does not end the run, and leaves no hole in its curves."""
    report = ProgressReport(Away(sqlite, times=1), claimed(sqlite))
    report.step(Step(phase="unlearn", step=1, total=2, forget_accuracy=50.0), collapse=None)
    report.step(Step(phase="unlearn", step=2, total=2, forget_accuracy=100.0), collapse=None)
    report._written = 0.0
    report.step(Step(phase="unlearn", step=2, total=2), collapse=None)
    with sqlite.read() as session:
        assert list(session.scalars(select(StepMetric.step).order_by(StepMetric.step))) == [1, 2]


def test_every_curve_that_has_a_name_is_reported(sqlite: Database) -> None:
    """What else a step has are terms of the loss."""
    report = ProgressReport(sqlite, claimed(sqlite))
    terms = {"deletion": 0.5}
    report.step(Step(phase="unlearn", step=1, total=1, forget_accuracy=50.0, terms=terms), collapse=None)
    report._written = 0.0
    report.step(Step(phase="unlearn", step=1, total=1), collapse=None)
    with sqlite.read() as session:
        (values,) = session.scalars(select(StepMetric.values))
    assert values.keys() - terms.keys() == {each.path for each in CURVES}


def test_how_much_has_been_measured_is_told_now_and_then(sqlite: Database) -> None:
    claim = claimed(sqlite)
    report = ProgressReport(sqlite, claim)
    report.enter(Phase.EVALUATE)
    report.evaluation_progress(256, 1000)
    report._written = 0.0
    report.evaluation_progress(512, 1000)
    report.evaluation_progress(768, 1000)
    with sqlite.read() as session:
        job = jobs.read(session, claim.job_id)
    assert (job.phase, job.step, job.total_steps) == (Phase.EVALUATE, 512, 1000)
