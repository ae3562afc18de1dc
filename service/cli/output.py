"""Where words go: to stdout for a person, or to stderr while stdout holds JSON for a program."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console, RenderableType
from rich.text import Text

from service.cli.exits import CommandError

_PIPED_WIDTH = 160  # columns where there is no terminal, so that no table is cut


class Output:
    """How one command speaks."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.console = console(stderr=as_json)

    def say(self, *words: RenderableType) -> None:
        """Tell the person something."""
        for word in words:
            # No markup: what servers and files contain is not ours.
            self.console.print(Text(word) if isinstance(word, str) else word, soft_wrap=isinstance(word, str))

    def result(self, document: Any, *words: RenderableType) -> None:
        """Answer the command: the document for a program, the words for a person."""
        if self.as_json:
            typer.echo(json.dumps(document))
        else:
            self.say(*words)

    @contextmanager
    def reporting(self) -> Iterator[None]:
        """Turn a `CommandError` into words, or a document, and its exit code."""
        try:
            yield
        except CommandError as error:
            Console(stderr=True, highlight=False).print(complaint(error.problem), soft_wrap=True)
            if self.as_json:
                typer.echo(json.dumps(error.problem))
            raise typer.Exit(error.exit) from error


def console(*, stderr: bool) -> Console:
    """A console that leaves numbers uncoloured."""
    made = Console(stderr=stderr, highlight=False)
    if not made.is_terminal:
        made.width = _PIPED_WIDTH
    return made


def complaint(problem: dict[str, Any]) -> Text:
    """A problem in words: its title, its detail, and a line for each fault with the place in the request."""
    text = Text(problem["title"], style="bold red")
    if problem.get("detail") and problem["detail"] != problem["title"]:
        text.append(f"\n{problem['detail']}", style="not bold default")
    for fault in problem.get("errors") or []:
        text.append(f"\n  {fault.get('pointer', '')}", style="not bold cyan")
        text.append(f"  {fault.get('detail', '')}", style="not bold default")
    return text
