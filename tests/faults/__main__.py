"""Break everything that can break, for as long as it takes to serve a thousand requests, and look what is left.

`python -m tests.faults --database postgresql --jobs 1000 --seed 1` runs two API processes and two workers, against a
PostgreSQL and a Redis of its own (or SQLite), as processes that it kills, freezes, cuts off and starts again at random
moments. Most jobs are stand-ins without torch; `--real` are real ones. Exit code 1 means that something was lost, done
twice, left over or too late. Linux only; as root, the artifact store gets a disk that can be filled.
"""

import argparse
import logging
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from tests.faults.clients import Clients
from tests.faults.injuries import Injuries
from tests.faults.stand_in import REAL
from tests.faults.topology import running
from tests.faults.verdict import Verdict, judge, quantiles
from tests.faults.watch import Watch

_SETTLING = 60.0  # seconds for what the clients no longer follow to end, and for images to be destroyed


def main() -> int:
    """Do what the command line says; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--database", choices=("postgresql", "sqlite"), default="postgresql")
    parser.add_argument("--jobs", type=int, default=1000, help="stand-in jobs")
    parser.add_argument("--real", type=int, default=0, help="jobs with torch, besides")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--models", type=int, default=6)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--lease", type=float, default=5.0, help="seconds")
    parser.add_argument("--sweep", type=float, default=1.0, help="seconds between two rounds of the reaper")
    parser.add_argument("--every", type=float, default=2.0, help="seconds between two faults, on average")
    parser.add_argument("--within", type=float, default=3600.0, help="seconds of asking and breaking")
    parser.add_argument("--logs", type=Path, help="folder for the logs of all processes")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="structguard-faults-") as folder:
        return 0 if run(chosen, Path(folder)) else 1


def run(chosen: argparse.Namespace, folder: Path) -> bool:
    """Serve, break, judge and print; was everything well?"""
    logging.getLogger("httpx").setLevel(logging.WARNING)
    rng = random.Random(chosen.seed)
    digits = None
    if chosen.real:
        digits = folder / "digits"
        subprocess.run([sys.executable, "-m", "worker.digits", str(digits)], check=True, capture_output=True)
    logs = chosen.logs or folder / "logs"
    with running(
        chosen.database, lease=chosen.lease, sweep=chosen.sweep, logs=logs, workers=chosen.workers
    ) as topology:
        clients = Clients(topology.urls, topology.key, chosen.seed, closing=time.monotonic() + chosen.within)
        models = clients.register(chosen.models)
        if digits is not None:
            clients.register_real(digits)
        kinds = [*(rng.choice(models) for _ in range(chosen.jobs)), *([REAL] * chosen.real)]
        rng.shuffle(kinds)

        injuries, watch = Injuries(topology, rng, chosen.lease, chosen.every, clients.closing), Watch(topology)
        peace, end = threading.Event(), threading.Event()
        orchestrator = threading.Thread(target=topology.watch, args=[end])
        trouble = threading.Thread(target=injuries.inflict, args=[peace])
        watching = threading.Thread(target=watch.look, args=[end])
        orchestrator.start()
        watching.start()
        trouble.start()
        began = time.monotonic()
        try:
            clients.ask(dict(enumerate(kinds)), digits, chosen.clients)
        finally:
            clients.stop.set()
            peace.set()
            trouble.join()
        seconds = time.monotonic() - began
        verdict = _settled(topology, clients, injuries, watch)
        end.set()
        orchestrator.join()
        watching.join()
        return show(chosen, verdict, clients, injuries, topology.start_seconds, seconds)


def _settled(topology, clients: Clients, injuries: Injuries, watch: Watch) -> Verdict:
    """The verdict once nothing is left to do, or time is over."""
    deadline = time.monotonic() + _SETTLING
    while True:
        verdict = judge(topology.database, topology.data, clients, injuries, watch)
        if verdict.is_clean or time.monotonic() > deadline:
            return verdict
        time.sleep(1)


def show(
    chosen: argparse.Namespace, verdict: Verdict, clients: Clients, injuries: Injuries, start: float, seconds: float
) -> bool:
    """Print the table; is everything well?"""
    wanted = f"{chosen.jobs} stand-in and {chosen.real} real jobs"
    print(f"## {chosen.database}, {wanted}, seed {chosen.seed}: {seconds:.0f} s\n")
    print(f"accepted {len(clients.accepted)}, withdrawn {len(clients.withdrawn)}, ", end="")
    print(f"given up because of an answer 409: {len(clients.abandoned)}")
    print(
        f"runs {verdict.runs}, requests that shared one {verdict.shared}, ended",
        {str(state): count for state, count in verdict.ended.items()},
    )
    print("orphaned files", verdict.orphans)
    print("\n| Fault | n |\n|---|---|")
    for name, count in sorted(Counter(fault.kind for fault in injuries.done).items()):
        print(f"| {name} | {count} |")
    print(f"| all | {len(injuries.done)} |")
    print("\n| Seconds until the job runs again | n | median | p99 | max |\n|---|---|---|---|---|")
    everything = verdict.recoveries
    kinds = {kind: [one for one in everything if one.kind == kind] for kind in sorted({one.kind for one in everything})}
    could = [one for one in everything if not one.away]
    groups = kinds | {
        "all": everything,
        "a database and a worker that lived were there all the time": could,
        "and its model was not busy with an earlier request": [one for one in could if not one.behind],
        "and one that was free": [one for one in could if not one.busy and not one.behind],
    }
    for name, group in groups.items():
        if group:
            middle, late, worst = quantiles([one.seconds for one in group])
            print(f"| {name} | {len(group)} | {middle:.1f} | {late:.1f} | {worst:.1f} |")
    limit = chosen.lease + chosen.sweep
    print(f"\nlease {chosen.lease:g} s, sweep {chosen.sweep:g} s, start of a worker {start:.1f} s")
    print(f"later than {limit:g} s (seconds without database or worker, with all workers busy; behind another one?):")
    for one in everything:
        if one.seconds > limit:
            print(f"  {one.kind}: {one.seconds:.1f} ({one.away:.1f}, {one.busy:.1f}, {one.behind})")
    print(f"hits after which the job ended without running again: {verdict.unharmed}\n")
    for kind, sentences in verdict.wrong.items():
        print(f"{kind}: {len(sentences)}", *sentences[:10], sep="\n  ")
    return verdict.is_clean


if __name__ == "__main__":
    sys.exit(main())
