"""Child processes that never outlive this one, whatever ends it."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NoReturn

from service.cli.exits import CommandError

_GRACE = 15.0  # seconds between SIGTERM and SIGKILL
_TAIL_LINES = 15  # of a log, in an error
_SET_PARENT_DEATH_SIGNAL = 1  # prctl(2)


class Stopped(BaseException):
    """A signal asked this process to end. Like KeyboardInterrupt it is no error, so nothing should handle it as one."""


def resident_bytes(pid: int) -> int | None:
    """Memory of a process that is in RAM now, where the system tells (Linux)."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmRSS:")), None)


def run(module: str, *arguments: str, failure: str, environment: Mapping[str, str] | None = None) -> str:
    """Run `python -m module` of the worker, where torch may be imported, to its end; its stdout.

    Raises:
        CommandError: it failed; `failure` is its title.
    """
    command = [sys.executable, "-P", "-m", module, *arguments]
    completed = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603  (our own module)
    if "No module named" in completed.stderr:
        raise CommandError(failure, "This takes the packages of the worker: pip install 'structguard[worker]'.")
    if completed.returncode:
        raise CommandError(failure, completed.stderr[-2000:].strip())
    return completed.stdout


def start(module: str, environment: Mapping[str, str], log: Path) -> "subprocess.Popen[bytes]":
    """Run `python -m module`; what it prints is appended to the log."""
    # A session of its own: Ctrl-C reaches this process only, which then ends both in order.
    with log.open("ab") as file:
        return subprocess.Popen(  # noqa: S603  (our own module)
            [sys.executable, "-m", module],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_parent_death_hook(),  # noqa: PLW1509  (this process has one thread when it starts its children)
        )


def _parent_death_hook() -> "partial[None] | None":
    """The `preexec_fn` by which the kernel ends a child when this process dies, even by SIGKILL (Linux)."""
    if sys.platform != "linux":
        return None
    return partial(_follow_parent, ctypes.CDLL(None), os.getpid())


def _follow_parent(libc: ctypes.CDLL, parent: int) -> None:
    libc.prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGTERM)
    if os.getppid() != parent:  # the parent died before prctl
        os._exit(1)


def ended(name: str, process: "subprocess.Popen[bytes]", log: Path) -> CommandError:
    """The error for a process that has ended by itself."""
    code = process.returncode
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    return CommandError(f"The {name} {how}. Its log is {log}.", tail(log))


def tail(log: Path) -> str:
    """The last lines of a log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-_TAIL_LINES:])


@contextmanager
def signals() -> Iterator[None]:
    """Turn the signals that end a process into `Stopped`, so that the block cleans up."""

    def raise_stopped(*_: object) -> NoReturn:
        raise Stopped

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    # Those that are ignored, as under nohup, stay ignored.
    handlers = {number: handler for number, handler in before.items() if handler is not signal.SIG_IGN}
    for number in handlers:
        signal.signal(number, raise_stopped)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def stop(processes: "list[subprocess.Popen[bytes]]") -> None:
    """Send SIGTERM; after `_GRACE` seconds, or on a second signal to this process, SIGKILL."""
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + _GRACE
    try:
        for process in processes:
            process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        pass
    finally:
        for process in processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)  # with the job that a worker runs
                process.wait()
