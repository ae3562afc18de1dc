"""Explains a failure: the phase it happened in, what happened, and what to do."""

from dataclasses import dataclass

from service.dashboard.wording import PHASES
from service.registry.reasons import ReasonCode
from service.registry.tables import DeletionRequest

_PROCESS_DIED = "Look at the worker's log and at the memory of its machine; if both look right, retry."

#: What to do where the reason does not say so itself, or says less than a page has room for.
_ADVICE = {
    ReasonCode.WORKER_LOST: "Look whether the workers run and reach the database, then retry.",
    ReasonCode.WORKER_STOPPED: "Workers were stopped while it ran. Retry when they are up again.",
    ReasonCode.PROCESS_KILLED: _PROCESS_DIED,
    ReasonCode.PROCESS_EXITED: _PROCESS_DIED,
    ReasonCode.PROCESS_STALLED: _PROCESS_DIED,
    ReasonCode.OUT_OF_MEMORY: (
        "Give the worker a device with more memory, or lower STRUCTGUARD_BATCH_IMAGES, then retry."
    ),
    ReasonCode.UNEXPECTED_ERROR: "Read the worker's log, mend what it names, then retry.",
    ReasonCode.GATE_OBJECTED: "Retry. Where the gate objects to what comes of it alone, a version is kept for review.",
}
_DEFAULT_ADVICE = "Mend what it names, then retry."


@dataclass(frozen=True)
class Failure:
    """Why a request has failed, in sentences."""

    phase: str | None  #: `None` where the worker was lost
    what: str
    advice: str


def explain(request: DeletionRequest) -> Failure:
    """Of a failed request. Where an earlier release has left no code, what it wrote is shown as it is."""
    reason = request.why
    if reason is None:
        return Failure(None, _sentence(request.reason or "no reason was written down"), _DEFAULT_ADVICE)
    advice = _ADVICE.get(reason.code) or (_sentence(reason.hint) if reason.hint else _DEFAULT_ADVICE)
    return Failure(reason.phase and PHASES[reason.phase], _sentence(reason.what), advice)


def _sentence(text: str) -> str:
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!")) else ".")
