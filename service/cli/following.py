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
_PAUSE = 0.5  # seconds between two polls
_LINE_EVERY = 2.0  # seconds between two lines of the same phase

Document = dict[str, Any]


def changes(client: Client, request_id: str, on_poll: Callable[[], None] = lambda: None) -> Iterator[Document]:
    """The request as it is now, and again after each change, until it has ended; `on_poll` is called in between."""
    last: Document | None = None
    while True:
        request = client.get(f"/v1/deletion-requests/{request_id}")
        if request != last:
            yield request
        if request["state"] in ENDED:
            return
        last = request
        on_poll()
        time.sleep(_PAUSE)


def show(output: Output, documents: Iterable[Document]) -> Document:
    """Show the changes as they come, and return the last one."""
    shown = _bars(output, documents) if output.console.is_terminal else _lines(output, documents)
    *_, last = shown
    return last


def _lines(output: Output, documents: Iterable[Document]) -> Iterator[Document]:
    """Print a line for every new state, phase or attempt, and every `_LINE_EVERY` seconds within one."""
    printed, printed_at = None, 0.0
    for request in documents:
        current = (request["state"], request["progress"]["phase"], request["progress"]["attempt"])
        if current != printed or time.monotonic() - printed_at > _LINE_EVERY:
            output.say(render.progress(request))
            printed, printed_at = current, time.monotonic()
        yield request


def _bars(output: Output, documents: Iterable[Document]) -> Iterator[Document]:
    """Show a bar for each phase; a new attempt has new bars."""
    columns = (SpinnerColumn(finished_text="✓"), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=output.console) as bars:
        current: tuple[TaskID, str] | None = None
        for request in documents:
            progress = request["progress"]
            name = progress["phase"] or request["state"]
            if current is None or name != current[1]:
                if current is not None:
                    _finish(bars, current[0])
                current = bars.add_task(name, total=None), name
            bars.update(current[0], completed=progress["step"], total=progress["total"] or None)
            yield request
        if current is not None:
            _finish(bars, current[0])


def _finish(bars: Progress, task: TaskID) -> None:
    """A phase may end before its last step: unlearning stops when its goal is reached."""
    done = max(1, int(bars.tasks[task].completed))
    bars.update(task, completed=done, total=done)
