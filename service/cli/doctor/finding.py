"""The result of a check and its severity."""

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """Severity of a finding."""

    OK = "ok"
    WARNING = "warning"  #: it works, and somebody should look
    PROBLEM = "problem"  #: requests are not accepted, not served, or late


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    check: str
    outcome: Outcome
    says: str
    mend: str = ""  #: what to do, in one sentence; nothing where there is nothing to do


def ok(check: str, says: str) -> Finding:
    """There is nothing to do."""
    return Finding(check, Outcome.OK, says)


def warning(check: str, says: str, mend: str) -> Finding:
    """It works, and somebody should look."""
    return Finding(check, Outcome.WARNING, says, mend)


def problem(check: str, says: str, mend: str) -> Finding:
    """Something does not work."""
    return Finding(check, Outcome.PROBLEM, says, mend)
