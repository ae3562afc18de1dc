"""Template filters that format states, times and numbers."""

from datetime import datetime, timedelta

from service.registry.states import Phase, State

STATES = {
    State.RECEIVED: "received",
    State.AWAITING_APPROVAL: "awaiting approval",
    State.QUEUED: "waiting",
    State.RUNNING: "running",
    State.COMPLETED: "completed",
    State.NEEDS_REVIEW: "needs review",
    State.FAILED: "failed",
    State.REJECTED: "rejected",
    State.CANCELLED: "withdrawn",
}

PHASES = {
    Phase.LOAD: "load",
    Phase.SURROGATES: "surrogates",
    Phase.UNLEARN: "unlearn",
    Phase.EVALUATE: "evaluate",
    Phase.PUBLISH: "publish",
}

#: CSS class that colours a state; the word beside it has the same meaning.
TONES = {
    State.RUNNING: "active",
    State.COMPLETED: "good",
    State.NEEDS_REVIEW: "warn",
    State.FAILED: "bad",
    State.AWAITING_APPROVAL: "warn",
}

_UNITS = ((86400, "day"), (3600, "hour"), (60, "minute"))


def span(length: timedelta) -> str:
    """A length of time in its largest unit: `3 days`, `40 minutes`, `12 seconds`."""
    seconds = abs(length.total_seconds())
    for unit, name in _UNITS:
        if seconds >= unit:
            count = int(seconds // unit)
            return f"{count} {name}{'s' if count != 1 else ''}"
    return f"{int(seconds)} seconds" if seconds >= 2 else "a moment"


def since(at: datetime, now: datetime) -> str:
    """`3 days ago`, or `in 3 days`."""
    return f"in {span(at - now)}" if at > now else f"{span(now - at)} ago"


def until(due: datetime, now: datetime) -> str:
    """The time until a deadline, or since: `due in 3 days`, `overdue by 2 hours`."""
    return f"due in {span(due - now)}" if due > now else f"overdue by {span(now - due)}"


def exact(at: datetime) -> str:
    """A time to the second, in UTC."""
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def number(value: float | None, digits: int = 2) -> str:
    """A number with a true minus and no zeros at its end; a dash where nothing was measured."""
    if value is None:
        return "–"
    text = f"{value:,.{digits}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return text.replace("-", "−") if text != "-0" else "0"


def signed(value: float | None, digits: int = 2) -> str:
    """A change, with its sign."""
    if value is None:
        return "–"
    text = number(value, digits)
    return text if value <= 0 or text == "0" else f"+{text}"


def capped(count: int, maximum: int) -> str:
    """A count; `1,000+` for one beyond the maximum, at which counting ended."""
    return f"{maximum:,}+" if count > maximum else f"{count:,}"
