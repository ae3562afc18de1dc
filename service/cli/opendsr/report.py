"""A run of all checks, and its results as a table and as a document."""

from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import httpx
from rich.table import Table

from service.cli.exits import CommandError, Unreachable
from service.cli.opendsr import checks  # noqa: F401  (importing them declares them)
from service.cli.opendsr.receiver import listen_for_callbacks
from service.cli.opendsr.suite import CheckOutcome, Result, run_checks
from service.cli.opendsr.target import connect

_COLOURS = {
    CheckOutcome.PASS: "green",
    CheckOutcome.FAIL: "bold red",
    CheckOutcome.WARN: "yellow",
    CheckOutcome.SKIP: "dim",
}


def check_processor(
    url: str,
    *,
    prefix: str,
    headers: dict[str, str],
    known_identity: dict[str, str] | None,
    listen: tuple[str, int] | None,
    callback_url: str | None,
    patience: float,
    authorities: Path | None,
    allow_self_signed: bool,
    strict: bool,
) -> list[Result]:
    """Run all checks against the processor at `url`; `patience` is in seconds.

    Raises:
        Unreachable: the processor does not answer.
        CommandError: the address of `listen` cannot be listened on.
    """
    with ExitStack() as stack:
        try:
            receiver = listen and stack.enter_context(listen_for_callbacks(*listen, callback_url, patience))
        except OSError as error:
            raise CommandError("Callbacks cannot be waited for there.", error.strerror or "") from error
        target = stack.enter_context(
            connect(
                url,
                prefix=prefix,
                authorization=headers,
                known_identity=known_identity,
                receiver=receiver,
                allow_self_signed=allow_self_signed,
                authorities=authorities and authorities.read_bytes(),
            )
        )
        try:
            target.http.head("/")
        except httpx.TransportError as error:
            raise Unreachable(f"{url} does not answer.", str(error) or type(error).__name__) from error
        return list(run_checks(target, strict=strict))


def document(results: list[Result]) -> dict[str, object]:
    """The results as a JSON object."""
    return {
        "checks": [
            {
                "name": result.check.name,
                "clause": result.check.clause,
                "outcome": result.outcome,
                "detail": result.detail,
            }
            for result in results
        ]
    }


def table(results: list[Result]) -> Table:
    """The results as a table for the terminal."""
    rows = Table("check", "clause", "", "", box=None, pad_edge=False)
    for result in results:
        outcome = f"[{_COLOURS[result.outcome]}]{result.outcome}"
        rows.add_row(result.check.name, result.check.clause, outcome, result.detail)
    return rows


def summary(results: list[Result]) -> str:
    """The number of checks with each outcome, such as `40 pass, 0 fail, 1 warn, 2 skip`."""
    counts = Counter(result.outcome for result in results)
    return ", ".join(f"{counts[outcome]} {outcome}" for outcome in CheckOutcome)
