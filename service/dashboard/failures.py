"""A failure as three answers: in which phase, what happened, and what to do now."""

from dataclasses import dataclass

from service.dashboard.wording import PHASES
from service.registry.states import Phase

_DIED = "Look at the worker's log and at the memory of its machine; if both look right, retry."

#: What to do where the reason does not say so itself, by words that are in it.
_ADVICE = (
    ("stopped answering", "Look whether the workers run and reach the database, then retry."),
    ("worker's process", _DIED),
    ("worker was stopped", "Workers were stopped while it ran. Retry when they are up again."),
    ("log has the details", "Read the worker's log, mend what it names, then retry."),
    ("out of memory", "Give the worker a device with more memory, or lower STRUCTGUARD_BATCH_IMAGES, then retry."),
)
_OTHERWISE = "Mend what it names, then retry."


@dataclass(frozen=True)
class Failure:
    """Why a request has failed."""

    phase: str | None  #: nothing where the run itself was lost
    what: str
    advice: str


def explain(reason: str | None) -> Failure:
    """From the reason that a worker or the queue has written."""
    phase, what = _phase(reason or "no reason was written down")
    happened, _, advice = what.partition("; ")
    found = next((told for words, told in _ADVICE if words in what), None)
    return Failure(phase, _sentence(happened), found or (_sentence(advice) if advice else _OTHERWISE))


def _phase(reason: str) -> tuple[str | None, str]:
    name, colon, rest = reason.partition(": ")
    return (PHASES[Phase(name)], rest) if colon and name in set(Phase) else (None, reason)


def _sentence(text: str) -> str:
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!")) else ".")
