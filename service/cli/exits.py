"""Exit codes, and the errors that lead to them."""

from enum import IntEnum
from typing import Any

from service.registry.states import State


class Exit(IntEnum):
    """Why the program ended; scripts may rely on these numbers."""

    OK = 0
    UNEXPECTED = 1
    USAGE = 2
    REFUSED = 3
    UNREACHABLE = 4
    ENDED_WITHOUT_VERSION = 5
    NEEDS_REVIEW = 6
    NOT_CONFORMING = 7
    NOT_VERIFIED = 8
    UNHEALTHY = 9


_MEANING = {
    Exit.OK: "done",
    Exit.UNEXPECTED: "something went wrong, here or in the server",
    Exit.USAGE: "the command line is not right",
    Exit.REFUSED: "the server refused it and said why",
    Exit.UNREACHABLE: "the server does not answer, or is not ready",
    Exit.ENDED_WITHOUT_VERSION: "waited for a request, and it failed, was rejected or was cancelled",
    Exit.NEEDS_REVIEW: "waited for a request, and its new version did not pass the quality gate",
    Exit.NOT_CONFORMING: "a check of `opendsr-check` failed",
    Exit.NOT_VERIFIED: "a certificate, a bundle or an audit log is not what it should be, or not of what it should be",
    Exit.UNHEALTHY: "`doctor` found a problem",
}

EPILOG = "Exit codes: " + "; ".join(f"{code} {_MEANING[code]}" for code in Exit) + "."


def exit_code(state: str) -> Exit:
    """The exit code for whoever waited for a request that ended in `state`."""
    if state == State.COMPLETED:
        return Exit.OK
    return Exit.NEEDS_REVIEW if state == State.NEEDS_REVIEW else Exit.ENDED_WITHOUT_VERSION


class CommandError(Exception):
    """An error that the user is told about, without a traceback.

    `problem` is its RFC 9457 form, with `members` as further ones: the server's own document where there is one.
    """

    exit = Exit.UNEXPECTED

    def __init__(self, title: str, detail: str = "", **members: Any) -> None:
        self.problem: dict[str, Any] = {"type": "about:blank", "title": title, "detail": detail, "errors": []} | members
        super().__init__(title)


class Unreachable(CommandError):
    """The server does not answer, or says that it cannot work now."""

    exit = Exit.UNREACHABLE


class Refused(CommandError):
    """The server does not do what was asked, and its answer says why."""

    exit = Exit.REFUSED

    @property
    def status(self) -> int:
        """The HTTP status."""
        return int(self.problem["status"])
