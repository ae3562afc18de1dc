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

_GRACE = 15.0  # seconds between the polite request to end and the other one
_SHOWN = 15  # lines of a log in an error
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
    """Run `python -m module` of the worker to its end, because torch lives there and not here; what it prints.

    Raises:
        CommandError: it did not succeed; `failure` says at what.
    """
    command = [sys.executable, "-P", "-m", module, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603  (our own module)
    if "No module named" in done.stderr:
        raise CommandError(failure, "This takes the packages of the worker: pip install 'structguard[worker]'.")
    if done.returncode:
        raise CommandError(failure, done.stderr[-2000:].strip())
    return done.stdout


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
            preexec_fn=_bond(),  # noqa: PLW1509  (this process has one thread when it starts its children)
        )


def _bond() -> "partial[None] | None":
    """What a child does first, so that the kernel ends it when this process dies, even by SIGKILL (Linux)."""
    if sys.platform != "linux":
        return None
    return partial(_die_with, ctypes.CDLL(None), os.getpid())


def _die_with(libc: ctypes.CDLL, parent: int) -> None:
    libc.prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGTERM)
    if os.getppid() != parent:  # it died before the kernel was asked
        os._exit(1)


def ended(name: str, process: "subprocess.Popen[bytes]", log: Path) -> CommandError:
    """What to say of a process that nobody asked to end."""
    code = process.returncode
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    return CommandError(f"The {name} {how}. Its log is {log}.", tail(log))


def tail(log: Path) -> str:
    """The end of a log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-_SHOWN:])


@contextmanager
def signals() -> Iterator[None]:
    """Turn the signals that end a process into `Stopped`, so that the block cleans up."""

    def raise_stopped(*_: object) -> NoReturn:
        raise Stopped

    watched = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in watched}
    heard = {number: handler for number, handler in before.items() if handler is not signal.SIG_IGN}  # nohup
    for number in heard:
        signal.signal(number, raise_stopped)
    try:
        yield
    finally:
        for number, handler in heard.items():
            signal.signal(number, handler)


def stop(processes: "list[subprocess.Popen[bytes]]") -> None:
    """End them politely; after a while, or when asked to a second time, without."""
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
