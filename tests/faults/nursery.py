"""Jobs without the second of CPU that a new interpreter costs: each is forked by a process that has loaded everything.

To the supervisor it is a process like any other: it can be waited for and killed, and hears when the supervisor dies.
"""

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys

from worker.supervision.supervisor import ON_CPU


class Nursery:
    """Of one worker process, which has one job at a time."""

    def __init__(self) -> None:
        self._wire, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with there:
            subprocess.Popen([sys.executable, "-m", "tests.faults.nursery"], stdin=there, env=ON_CPU | os.environ)

    def bear(self, *arguments: str) -> "Born":
        """A process that runs `tests.faults.stand_in` with these arguments."""
        hears, lives = os.pipe()
        try:
            socket.send_fds(self._wire, [" ".join(arguments).encode()], [hears])
        finally:
            os.close(hears)
        return Born(self._wire, os.fdopen(lives, "wb"))


class Born:
    """What `worker.supervision.supervisor` needs of a `subprocess.Popen`."""

    def __init__(self, wire: socket.socket, stdin) -> None:
        self._wire = wire
        self._wire.settimeout(None)
        self.stdin = stdin
        self.returncode: int | None = None
        self.pid = int(self._wire.recv(64))

    def wait(self, timeout: float | None = None) -> int:
        self._wire.settimeout(timeout)
        while self.returncode is None:
            try:
                # The end of the nursery itself is one by SIGKILL: nothing else ends it.
                self.returncode = int(self._wire.recv(64) or -signal.SIGKILL)
            except TimeoutError:
                raise subprocess.TimeoutExpired("stand-in", timeout or 0) from None
        return self.returncode

    def kill(self) -> None:
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


def main() -> None:
    """Fork whenever asked to, and tell how it ended."""
    from tests.faults import stand_in  # noqa: PLC0415  (whoever asks has loaded it, too)

    asked = socket.socket(fileno=os.dup(0))
    while True:
        message, hears, _, _ = socket.recv_fds(asked, 4096, 1)
        if not message:
            return
        if (pid := os.fork()) == 0:
            asked.close()
            os.dup2(hears[0], 0)
            random.seed()
            sys.argv[1:] = message.decode().split()
            try:
                stand_in.main()
            finally:
                sys.excepthook(*sys.exc_info())
                os._exit(1)
        os.close(hears[0])
        with contextlib.suppress(BrokenPipeError):
            asked.send(str(pid).encode())
            _, status = os.waitpid(pid, 0)
            asked.send(str(os.waitstatus_to_exitcode(status)).encode())


if __name__ == "__main__":
    main()
