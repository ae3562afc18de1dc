"""A run of all checks, and its results as a table and as a document."""

from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import httpx
from rich.table import Table

from service.cli.exits import CommandError, Unreachable
from service.cli.opendsr import checks  # noqa: F401  (importing them declares them)
from service.cli.opendsr.receiver import receiving
from service.cli.opendsr.suite import CheckOutcome, Result, results
from service.cli.opendsr.target import connected

_COLOURS = {
    CheckOutcome.PASS: "green",
    CheckOutcome.FAIL: "bold red",
    CheckOutcome.WARN: "yellow",
    CheckOutcome.SKIP: "dim",
}


def checked(
    url: str,
    *,
    prefix: str,
    headers: dict[str, str],
    known: dict[str, str] | None,
    listen: tuple[str, int] | None,
    callback_url: str | None,
    patience: float,
    authorities: Path | None,
    is_self_signed_fine: bool,
    strict: bool,
) -> list[Result]:
    """What comes of all checks.

    Raises:
        Unreachable: nobody answers there.
        CommandError: nobody can listen where callbacks are to be waited for.
    """
    with ExitStack() as opened:
        try:
            receiver = listen and opened.enter_context(receiving(*listen, callback_url, patience))
        except OSError as error:
            raise CommandError("Callbacks cannot be waited for there.", error.strerror or "") from error
        target = opened.enter_context(
            connected(
                url,
                prefix=prefix,
                authorization=headers,
                known=known,
                receiver=receiver,
                is_self_signed_fine=is_self_signed_fine,
                authorities=authorities and authorities.read_bytes(),
            )
        )
        try:
            target.http.head("/")
        except httpx.TransportError as error:
            raise Unreachable(f"{url} does not answer.", str(error) or type(error).__name__) from error
        return list(results(target, strict=strict))


def document(found: list[Result]) -> dict[str, object]:
    """For programs."""
    return {
        "checks": [
            {
                "name": result.check.name,
                "clause": result.check.clause,
                "outcome": result.outcome,
                "detail": result.detail,
            }
            for result in found
        ]
    }


def table(found: list[Result]) -> Table:
    """For people."""
    rows = Table("check", "clause", "", "", box=None, pad_edge=False)
    for result in found:
        outcome = f"[{_COLOURS[result.outcome]}]{result.outcome}"
        rows.add_row(result.check.name, result.check.clause, outcome, result.detail)
    return rows


def summary(found: list[Result]) -> str:
    """How many of each."""
    counts = Counter(result.outcome for result in found)
    return ", ".join(f"{counts[outcome]} {outcome}" for outcome in CheckOutcome)
