"""Following a deletion request until it ends: bars on a terminal, lines elsewhere."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from service.cli import render
from service.cli.client import Client
from service.cli.output import Output
from service.registry.states import ENDED

PATIENCE = 120.0  # seconds that a server may be away while somebody waits: it is restarted, not gone
_PAUSE = 0.5  # seconds between two looks
_LINE_EVERY = 2.0  # seconds between two lines of the same phase

Document = dict[str, Any]


def changes(client: Client, request_id: str, meanwhile: Callable[[], None] = lambda: None) -> Iterator[Document]:
    """The request as it is now, and again each time that it has changed; the last one has ended."""
    last: Document | None = None
    while True:
        request = client.get(f"/v1/deletion-requests/{request_id}")
        if request != last:
            yield request
        if request["state"] in ENDED:
            return
        last = request
        meanwhile()
        time.sleep(_PAUSE)


def show(output: Output, documents: Iterable[Document]) -> Document:
    """Show the changes as they come, and return the last one."""
    shown = _bars(output, documents) if output.console.is_terminal else _lines(output, documents)
    *_, last = shown
    return last


def _lines(output: Output, documents: Iterable[Document]) -> Iterator[Document]:
    """A line for every new state and phase, and now and then one in between."""
    said, at = None, 0.0
    for request in documents:
        where = (request["state"], request["progress"]["phase"], request["progress"]["attempt"])
        if where != said or time.monotonic() - at > _LINE_EVERY:
            output.say(render.progress(request))
            said, at = where, time.monotonic()
        yield request


def _bars(output: Output, documents: Iterable[Document]) -> Iterator[Document]:
    """A bar for each phase; when a request starts again, its bars do too."""
    columns = (SpinnerColumn(finished_text="✓"), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=output.console) as bars:
        current: tuple[TaskID, str] | None = None
        for request in documents:
            at = request["progress"]
            name = at["phase"] or request["state"]
            if current is None or name != current[1]:
                if current is not None:
                    _finish(bars, current[0])
                current = bars.add_task(name, total=None), name
            bars.update(current[0], completed=at["step"], total=at["total"] or None)
            yield request
        if current is not None:
            _finish(bars, current[0])


def _finish(bars: Progress, task: TaskID) -> None:
    """A phase may end before its last step: unlearning stops when its goal is reached."""
    done = max(1, int(bars.tasks[task].completed))
    bars.update(task, completed=done, total=done)
