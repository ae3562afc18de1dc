"""Many runs: those without a result yet, each in a child process; each result is on disk before the next run begins."""

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
    """Run what has no result in any file of the folder, append it to `<name>.jsonl`; the number of failed runs.

    A run that fails is reported and tried again the next time. `force` measures again what is there: the newest
    result counts.
    """
    existing = [] if force else [row for row in rows(folder) if is_current(row)]
    missing = [run for run in _distinct(runs) if not any(is_of(row, run) for row in existing)]
    console, failed = Console(stderr=True), 0
    folder.mkdir(parents=True, exist_ok=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console) as progress:
        task = progress.add_task(name, total=len(missing))
        with ThreadPoolExecutor(jobs) as pool:
            for future in as_completed([pool.submit(_in_child, run, threads) for run in missing]):
                run, result, error = future.result()
                if result is None:
                    failed += 1
                    progress.console.print(f"failed: {run}\n{error}", markup=False, highlight=False)
                else:
                    _append(folder / f"{name}.jsonl", result)
                progress.advance(task)
    return failed


def _distinct(runs: Iterable[Run]) -> Iterator[Run]:
    distinct = list[Run]()
    for run in runs:
        if run not in distinct:
            distinct.append(run)
            yield run


def _in_child(run: Run, threads: int) -> tuple[Run, str | None, str]:
    """The run, its result as a line of JSON or None if it failed, and its stderr."""
    command = [sys.executable, "-m", "benchmarks.run", json.dumps(asdict(run))]
    environment = ON_CPU | os.environ | {"OMP_NUM_THREADS": str(threads)}
    root = Path(__file__).parents[1]
    completed = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, check=False)
    if completed.returncode:
        return run, None, completed.stderr or f"exit code {completed.returncode}"
    return run, completed.stdout.splitlines()[-1], completed.stderr


def _append(path: Path, line: str) -> None:
    with path.open("a") as file:
        file.write(line + "\n")
        file.flush()
        os.fsync(file.fileno())
