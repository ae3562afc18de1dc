"""Output of the commands: text on stdout, or with --json one document on stdout and text on stderr."""

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
    """Prints the output of one command."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.console = console(stderr=as_json)

    def say(self, *lines: RenderableType) -> None:
        """Print lines and tables for a person."""
        for line in lines:
            # No markup: the text of servers and files must not be interpreted.
            self.console.print(Text(line) if isinstance(line, str) else line, soft_wrap=isinstance(line, str))

    def result(self, document: Any, *lines: RenderableType) -> None:
        """Print the result of the command: `document` with --json, otherwise `lines`."""
        if self.as_json:
            typer.echo(json.dumps(document))
        else:
            self.say(*lines)

    @contextmanager
    def reporting(self) -> Iterator[None]:
        """Print a `CommandError` on stderr, with --json its document on stdout, and exit with its code."""
        try:
            yield
        except CommandError as error:
            Console(stderr=True, highlight=False).print(problem_text(error.problem), soft_wrap=True)
            if self.as_json:
                typer.echo(json.dumps(error.problem))
            raise typer.Exit(error.exit) from error


def console(*, stderr: bool) -> Console:
    """A console that leaves numbers uncoloured."""
    created = Console(stderr=stderr, highlight=False)
    if not created.is_terminal:
        created.width = _PIPED_WIDTH
    return created


def problem_text(problem: dict[str, Any]) -> Text:
    """A problem as text: its title, its detail, and a line for each error with its JSON pointer."""
    text = Text(problem["title"], style="bold red")
    if problem.get("detail") and problem["detail"] != problem["title"]:
        text.append(f"\n{problem['detail']}", style="not bold default")
    for fault in problem.get("errors") or []:
        text.append(f"\n  {fault.get('pointer', '')}", style="not bold cyan")
        text.append(f"  {fault.get('detail', '')}", style="not bold default")
    return text
