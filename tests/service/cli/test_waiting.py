import json

import pytest

from service.cli import render
from service.cli.exits import EPILOG, Exit, exit_code
from service.registry.states import ENDED, State
from tests.service.cli.scripted_server import document, script, scripted

METRICS = {
    "before": {"forget_accuracy": 0.0, "test_accuracy": None, "collapse": 0.0, "membership": None},
    "after": {
        "forget_accuracy": 100.0,
        "test_accuracy": None,
        "collapse": 0.0337,
        "membership": {"unseen": {"advantage": 0.48, "controls": 397}, "unseen_misclassified": None},
        "relearning": {"steps": 7, "max_steps": 100},
    },
}


def request(state, phase=None, step=0, total=0, **more):
    return {
        "id": "r",
        "model": "pets",
        "state": state,
        "reason": None,
        "waiting_on": None,
        "sample_count": 1,
        "received_at": "2026-11-21T12:00:00Z",
        "due_at": "2026-12-21T12:00:00Z",
        "ended_at": None,
        "progress": {"phase": phase, "step": step, "total": total, "attempt": 1},
        "metrics": {},
        "version": None,
        **more,
    }


LIFE = [request("queued"), request("running", "load"), request("running", "unlearn", 40, 400)]


@pytest.mark.parametrize(("state", "code"), [("completed", 0), ("failed", 5), ("rejected", 5), ("needs_review", 6)])
def test_the_exit_code_tells_how_the_request_ended(structguard, state, code):
    """Scripts need not read anything."""
    with scripted(script(document(request(state)))) as (address, _):
        assert structguard("watch", "r", "--server", address).code == code


def test_every_end_has_an_exit_code():
    """And only the good one is 0."""
    assert {state for state in ENDED if exit_code(state) == Exit.OK} == {State.COMPLETED}
    assert {state for state in ENDED if exit_code(state) == Exit.NEEDS_REVIEW} == {State.NEEDS_REVIEW}
    assert all(f"{code.value} " in EPILOG for code in Exit)


def test_without_a_terminal_progress_is_plain_lines(structguard):
    """No control characters in a log."""
    answers = [*map(document, LIFE), document(request("completed", metrics=METRICS, version=2))]
    with scripted(script(*answers)) as (address, _):
        ran = structguard("watch", "r", "--server", address)
    lines = ran.out.splitlines()
    assert lines[:4] == ["queued", "running: load", "running: unlearn 40/400", "completed"]
    assert ran.out.replace("\n", "").isprintable()
    assert any(line.split()[-2:] == ["0.0000", "0.0337"] for line in lines)


def test_json_lines_are_one_document_for_each_change(structguard):
    """The same answer twice is no change."""
    answers = [document(LIFE[0]), document(LIFE[0]), document(LIFE[1]), document(request("completed"))]
    with scripted(script(*answers)) as (address, _):
        ran = structguard("watch", "r", "--server", address, "--json")
    assert [json.loads(line)["state"] for line in ran.out.splitlines()] == ["queued", "running", "completed"]


def cells(metrics):
    """What is shown before and after, by the name of its row."""
    names, *sides = (list(column.cells) for column in render.metrics(metrics).columns)
    return dict(zip(names, zip(*sides, strict=True), strict=True))


def test_what_was_not_measured_says_so():
    """Never a made-up number."""
    rows = cells(METRICS)
    measured = {label: values for label, values in rows.items() if values != ("not measured", "not measured")}
    assert measured == {
        "A_f, images to forget that are misclassified": ("0.00 %", "100.00 %"),
        "structural collapse, against the parent, 0 = intact": ("0.0000", "0.0337"),
        "membership advantage, best attack, 0 = cannot tell": ("not measured", "0.4800 (397)"),
        "relearning, training steps until known again": ("not measured", "7"),
    }
    assert len(rows) > len(measured)


def test_images_that_did_not_come_back_are_not_called_unmeasured():
    """The cap says at least how long it takes."""
    after = {"relearning": {"steps": None, "max_steps": 100}}
    assert cells({"after": after})["relearning, training steps until known again"] == ("not measured", "over 100")


def test_a_second_attempt_is_mentioned():
    """A worker was lost on the way."""
    again = request("running", "load")
    again["progress"]["attempt"] = 2
    assert render.progress(again) == "running: load (attempt 2)"
