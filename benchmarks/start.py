"""How long the service takes to start, and what it holds then, beside another build of it.

`python -m benchmarks.start --before CHECKOUT` starts both in turn, each from its own folder with its own `.venv` and on
a migrated SQLite database, until `/readyz` answers. CPU seconds depend less on what else the machine does than seconds;
memory is what the process has resident then.
"""

import argparse
import os
import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil

from service.cli.stack import free_port

_PATIENCE = 60.0  # seconds until a service that is not ready has failed
_MEASURES = {"seconds": 1.0, "CPU seconds": 1.0, "MiB": 1 / 2**20}


@dataclass
class Build:
    """One checkout."""

    name: str
    folder: Path
    starts: list[tuple[float, float, float]] = field(default_factory=list)  #: seconds, CPU seconds, bytes of each start

    def start(self) -> None:
        """Start it once, and end it as soon as it is ready."""
        python = self.folder.resolve() / ".venv/bin/python"
        with tempfile.TemporaryDirectory() as data:
            port = free_port()
            environment = {**os.environ, "STRUCTGUARD_DATA_DIR": data, "STRUCTGUARD_PORT": str(port)}
            migrate, serve = (str(python), "-m", "service.cli", "migrate"), (str(python), "-m", "service")
            subprocess.run(migrate, check=True, cwd=self.folder, env=environment, capture_output=True)
            began = time.perf_counter()
            process = psutil.Popen(serve, cwd=self.folder, env=environment, stderr=subprocess.DEVNULL)
            try:
                _wait_until_ready(port, began + _PATIENCE)
                seconds, cpu = time.perf_counter() - began, process.cpu_times()
                self.starts.append((seconds, cpu.user + cpu.system, process.memory_info().rss))
            finally:
                process.terminate()
                process.wait()


def _wait_until_ready(port: int, deadline: float) -> None:
    while time.perf_counter() < deadline:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/readyz").is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.005)
    raise TimeoutError


def main() -> None:
    """Print one line for each measure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.start", description=__doc__)
    parser.add_argument("--before", type=Path, required=True, metavar="CHECKOUT", help="with a .venv of its own")
    parser.add_argument("--rounds", type=int, default=12)
    chosen = parser.parse_args()
    before, now = Build("before", chosen.before), Build("now", Path.cwd())
    for build in (before, now):
        build.start()  # files come into the cache
        build.starts.clear()
    for at in range(chosen.rounds):
        for build in (before, now) if at % 2 else (now, before):
            build.start()
    print(f"| median of {chosen.rounds}, mean ± standard deviation | before | now | now / before |\n|---|---|---|---|")
    for at, (unit, factor) in enumerate(_MEASURES.items()):
        columns = [[start[at] * factor for start in build.starts] for build in (before, now)]
        ratios = [b / a for a, b in zip(*columns, strict=True)]
        print(f"| {unit} | " + " | ".join(map(_spread, [*columns, ratios])) + " |")


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.3g}, {statistics.mean(values):.3g} ± {statistics.stdev(values):.2g}"


if __name__ == "__main__":
    main()
