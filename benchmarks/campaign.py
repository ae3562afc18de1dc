"""Many runs: those that are not there yet, each in a child process, each result on the disk before the next begins."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from benchmarks.results import RESULTS, is_current, is_of, rows
from benchmarks.run import Run
from worker.supervision.supervisor import ON_CPU


def campaign(
    name: str, runs: Iterable[Run], *, folder: Path = RESULTS, force: bool = False, threads: int = 1, jobs: int = 1
) -> int:
    """Run what is missing and append it to `<name>.jsonl`, wherever else the rest was measured; how many runs failed.

    A run that fails is reported and tried again the next time. `force` measures again what is there: the newest
    result counts.
    """
    there = [] if force else [row for row in rows(folder) if is_current(row)]
    missing = [run for run in _distinct(runs) if not any(is_of(row, run) for row in there)]
    console, failed = Console(stderr=True), 0
    folder.mkdir(parents=True, exist_ok=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console) as progress:
        task = progress.add_task(name, total=len(missing))
        with ThreadPoolExecutor(jobs) as pool:
            for done in as_completed([pool.submit(_in_child, run, threads) for run in missing]):
                run, result, complaint = done.result()
                if result is None:
                    failed += 1
                    progress.console.print(f"failed: {run}\n{complaint}", markup=False, highlight=False)
                else:
                    _append(folder / f"{name}.jsonl", result)
                progress.advance(task)
    return failed


def _distinct(runs: Iterable[Run]) -> Iterator[Run]:
    seen = list[Run]()
    for run in runs:
        if run not in seen:
            seen.append(run)
            yield run


def _in_child(run: Run, threads: int) -> tuple[Run, str | None, str]:
    """The run, its line of JSON or None, and what the process said besides."""
    command = [sys.executable, "-m", "benchmarks.run", json.dumps(asdict(run))]
    environment = ON_CPU | os.environ | {"OMP_NUM_THREADS": str(threads)}
    here = Path(__file__).parents[1]
    done = subprocess.run(command, env=environment, cwd=here, capture_output=True, text=True, check=False)
    if done.returncode:
        return run, None, done.stderr or f"exit code {done.returncode}"
    return run, done.stdout.splitlines()[-1], done.stderr


def _append(path: Path, line: str) -> None:
    with path.open("a") as file:
        file.write(line + "\n")
        file.flush()
        os.fsync(file.fileno())
