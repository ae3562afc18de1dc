"""Checks: how they are declared and run, and their results."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

import httpx

from service.cli.opendsr.target import CheckFailed, CheckSkipped, Target

Run = Callable[[Target], None]


class CheckOutcome(StrEnum):
    """CheckOutcome of a check."""

    PASS = "pass"  # noqa: S105  (no password)
    FAIL = "fail"  #: something that MUST be is not
    WARN = "warn"  #: something that SHOULD be is not
    SKIP = "skip"  #: it could not be tried


@dataclass(frozen=True)
class Check:
    """One requirement of the specification."""

    name: str
    clause: str  #: section of the specification, or `erratum` and its number in docs/opendsr.md
    run: Run  #: returns, or raises `CheckFailed` or `CheckSkipped`
    is_must: bool


@dataclass(frozen=True)
class Result:
    """A check and its outcome; `detail` says why, and repeats nothing of what was sent."""

    check: Check
    outcome: CheckOutcome
    detail: str


#: All checks, in the order in which they were declared.
CHECKS: list[Check] = []


def must(name: str, clause: str) -> Callable[[Run], Run]:
    """Declare a check of something that MUST be."""
    return _check_decorator(name, clause, is_must=True)


def should(name: str, clause: str) -> Callable[[Run], Run]:
    """Declare a check of something that SHOULD be, or that the errata recommend."""
    return _check_decorator(name, clause, is_must=False)


def _check_decorator(name: str, clause: str, *, is_must: bool) -> Callable[[Run], Run]:
    def declare(run: Run) -> Run:
        CHECKS.append(Check(name, clause, run, is_must))
        return run

    return declare


def run_checks(target: Target, *, strict: bool) -> Iterator[Result]:
    """Run every check, one after the other; with `strict` what SHOULD be, MUST be."""
    for check in CHECKS:
        outcome, detail = CheckOutcome.PASS, ""
        try:
            check.run(target)
        except CheckSkipped as skipped:
            outcome, detail = CheckOutcome.SKIP, str(skipped)
        except CheckFailed as failure:
            outcome, detail = CheckOutcome.FAIL if check.is_must or strict else CheckOutcome.WARN, str(failure)
        except httpx.HTTPError as error:
            outcome, detail = CheckOutcome.FAIL, f"there was no answer: {type(error).__name__}"
        except Exception as error:  # noqa: BLE001  (servers are wrong in ways of their own; none may end the run)
            outcome, detail = CheckOutcome.FAIL, f"the answer cannot be understood: {type(error).__name__}"
        yield Result(check, outcome, detail)
    target.tidy_up()
