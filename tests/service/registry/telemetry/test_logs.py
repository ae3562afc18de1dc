"""Lines of the log, as a collector gets them."""

import json
import logging
import threading
from collections.abc import Iterator
from contextvars import copy_context

import pytest

from service.registry.telemetry import logs


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Afterwards others write as they did."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    for handler in handlers:
        root.removeHandler(handler)  # or they would be closed
    yield
    for handler in root.handlers[:]:
        root.removeHandler(handler)
    root.setLevel(level)
    for handler in handlers:
        root.addHandler(handler)


def test_a_line_is_one_json_object_with_what_it_is_about(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json")
    with logs.context(job="7", attempt=2), logs.context(request="r"):
        logging.getLogger("here").warning("two\nlines of %s", "text")
    logging.getLogger("there").info("nothing")
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    told = {"level": "WARNING", "logger": "here", "message": "two\nlines of text", "job": "7", "attempt": 2}
    assert first.items() > (told | {"request": "r"}).items()
    assert first["time"].endswith("+00:00")
    assert second.keys() == {"time", "level", "logger", "message"}


def test_what_libraries_attach_to_their_lines_stays_out(capsys: pytest.CaptureFixture[str]) -> None:
    """Celery attaches the arguments of a task, others whatever they please."""
    logs.configure("json")
    logging.getLogger("library").info("done", extra={"data": {"args": "jane-doe"}, "color_message": "jane-doe"})
    assert "jane-doe" not in capsys.readouterr().err


def test_a_traceback_is_a_part_of_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json")
    try:
        int("x")
    except ValueError:
        logging.getLogger("here").exception("it broke")
    (line,) = map(json.loads, capsys.readouterr().err.splitlines())
    assert line["exc_info"].startswith("Traceback")


def test_threads_that_work_is_handed_to_know_what_it_is_about(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json")
    with logs.context(request="r"):
        context = copy_context()
    thread = threading.Thread(target=context.run, args=(logging.getLogger("here").info, "in a thread"))
    thread.start()
    thread.join()
    assert json.loads(capsys.readouterr().err)["request"] == "r"


def test_text_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("text")
    with logs.context(request="r"):
        logging.getLogger("here").info("hello")
    assert capsys.readouterr().err.endswith(" level=INFO logger=here message=hello\n")
