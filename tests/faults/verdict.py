"""What the database and the store say after everything has ended; nothing that a process remembers."""

import hashlib
import statistics
import uuid
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from service.registry.audit import audit_log
from service.registry.audit.hash_chain import Broken
from service.registry.audit.verification import verify_all
from service.registry.crypto import signing_keys
from service.registry.job_queue.state_machine import may_move
from service.registry.settings import RegistrySettings
from service.registry.states import ENDED, State
from service.registry.storage.database import Database
from service.registry.tables import DeletionRequest, Job, Tenant, Transition, Version
from tests.faults.clients import NUMBERED, Clients
from tests.faults.injuries import Injuries
from tests.faults.watch import Watch, seconds

_FINAL = ENDED - {State.FAILED}  # of these a request has one


@dataclass(frozen=True)
class Recovery:
    """From the moment in which a job lost its worker until it ran again; how much of it nobody could have run it."""

    kind: str
    seconds: float
    away: float  # seconds without database, or without any worker that lived
    busy: float  # seconds in which all that lived had another job
    behind: bool  # an earlier request of the same model, which somebody had retried, ran in between


@dataclass
class Verdict:
    """What is wrong, by kind, each with a sentence; and what was counted."""

    wrong: dict[str, list[str]] = field(
        default_factory=lambda: {"lost": [], "twice": [], "stuck": [], "illegal": [], "store": [], "audit": []}
    )
    ended: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    runs: int = 0  # how often a job began to run
    shared: int = 0  # requests that at least once ran together with others
    orphans: int = 0  # files that no row names
    recoveries: list[Recovery] = field(default_factory=list)
    unharmed: int = 0  # hits after which the job ended without running again

    @property
    def is_clean(self) -> bool:
        """Nothing is wrong."""
        return not any(self.wrong.values())


def judge(database: Database, data: Path, clients: Clients, injuries: Injuries, watch: Watch) -> Verdict:
    """Look at every row and every file."""
    verdict = Verdict()
    with database.read() as session:
        requests = {row.id: row for row in session.scalars(select(DeletionRequest))}
        jobs = {row.id: row for row in session.scalars(select(Job))}
        versions = list(session.scalars(select(Version).order_by(Version.model_id, Version.number)))
        moves: dict[uuid.UUID, list[Transition]] = defaultdict(list)
        for move in session.scalars(select(Transition).order_by(Transition.id)):
            moves[move.request_id].append(move)
        _audit(verdict, session, data)
    _requests(verdict, requests, jobs, moves, versions, clients)
    _versions(verdict, versions, jobs)
    _files(verdict, data, requests.values(), versions)
    _runs(verdict, requests, moves)
    _recoveries(verdict, requests, moves, injuries, watch)
    return verdict


def _requests(verdict: Verdict, requests, jobs, moves, versions, clients: Clients) -> None:
    by_number: dict[int, list[DeletionRequest]] = defaultdict(list)
    for request in requests.values():
        by_number[number_of(request)].append(request)
    for number, path in clients.accepted.items():
        if uuid.UUID(path.rpartition("/")[2]) not in requests:
            verdict.wrong["lost"].append(f"request {number} was accepted and does not exist")
    for number, rows in by_number.items():
        if len(rows) > 1:
            verdict.wrong["twice"].append(f"request {number} exists {len(rows)} times")
        if number not in clients.accepted.keys() | clients.abandoned:
            verdict.wrong["illegal"].append(f"request {number} was not accepted and exists")

    published = {version.job_id for version in versions}
    for request in requests.values():
        job, states = jobs[request.job_id], [move.after for move in moves[request.id]]
        verdict.ended[request.state] += 1
        number = number_of(request)
        is_withdrawn = number in clients.withdrawn
        # A request that failed is tried again by its client, unless the client no longer wants it.
        is_left = request.state is State.FAILED and (is_withdrawn or number in clients.abandoned)
        if request.state not in _FINAL and not is_left:
            verdict.wrong["stuck"].append(f"request {number} is {request.state} ({request.reason})")
        if job.state is not request.state:
            verdict.wrong["illegal"].append(f"request {number} is {request.state}, its job is {job.state}")
        if sum(state in _FINAL for state in states) > 1:
            verdict.wrong["twice"].append(f"request {number} has ended {states}")
        if request.state in (State.COMPLETED, State.NEEDS_REVIEW) and job.id not in published:
            verdict.wrong["lost"].append(f"request {number} is {request.state} and there is no version")
        if request.state not in (State.COMPLETED, State.NEEDS_REVIEW) and job.id in published:
            verdict.wrong["illegal"].append(f"request {number} is {request.state} and there is a version")
        if is_withdrawn and job.id in published:
            verdict.wrong["illegal"].append(f"request {number} was withdrawn and published")
        for move in moves[request.id]:
            if move.before is not None and not may_move(move.before, move.after):
                verdict.wrong["illegal"].append(f"request {number}: {move.before} -> {move.after}")
        for one, next_one in pairwise(moves[request.id]):
            if one.after is not next_one.before:
                verdict.wrong["illegal"].append(f"request {number}: {one.after}, then {next_one.before}")


def _audit(verdict: Verdict, session: Session, data: Path) -> None:
    """Every log is whole, and every move stands in one as it was made."""
    keys = {key.key_id: key for key in signing_keys.public_keys(RegistrySettings(data_dir=data))}
    for tenant_id in session.scalars(select(Tenant.id)):
        try:
            verify_all(session, tenant_id, keys)
        except Broken as broken:
            verdict.wrong["audit"].append(f"height {broken.height}: {broken}")
        if (at := audit_log.altered_at(session, tenant_id)) is not None:
            verdict.wrong["audit"].append(f"an entry of {at} is not as it was written")
    moves, chained = session.execute(
        select(func.count(), func.count().filter(Transition.chained)).select_from(Transition)
    ).one()
    if moves > chained:
        verdict.wrong["audit"].append(f"{moves - chained} of {moves} moves are in no log")


def _versions(verdict: Verdict, versions: list[Version], jobs) -> None:
    of_model: dict[uuid.UUID, list[Version]] = defaultdict(list)
    for version in versions:
        of_model[version.model_id].append(version)
    for family in of_model.values():
        if [version.number for version in family] != list(range(1, len(family) + 1)):
            verdict.wrong["twice"].append(f"numbers {[version.number for version in family]}")
        usable = family[0]
        for version in family[1:]:
            if version.parent_id != usable.id:
                verdict.wrong["illegal"].append(f"version {version.number} does not build on the one before")
            usable = version if version.gate == "passed" else usable
    counts = defaultdict(int)
    for version in versions:
        counts[version.job_id] += version.job_id is not None
    verdict.wrong["twice"] += [f"job {job} published {count} times" for job, count in counts.items() if count > 1]


def _files(verdict: Verdict, data: Path, requests, versions: list[Version]) -> None:
    for version in versions:
        path = data / version.checkpoint
        if not path.exists():
            verdict.wrong["store"].append(f"the checkpoint of version {version.number} is gone")
        elif hashlib.sha256(path.read_bytes()).hexdigest() != version.sha256:
            verdict.wrong["store"].append(f"the checkpoint of version {version.number} is another one")
    for request in requests:
        if request.state in _FINAL and request.samples is not None:
            verdict.wrong["store"].append(f"the images of an ended request are still there ({request.state})")
    named = {version.checkpoint for version in versions} | {request.samples for request in requests}
    kept = {f"{kind}/{path.name}" for kind in ("checkpoints", "samples", "staging") for path in (data / kind).glob("*")}
    verdict.orphans = len(kept - named)


def _runs(verdict: Verdict, requests, moves) -> None:
    """Requests of one model that began to run at the same moment share a run."""
    together: dict[tuple[uuid.UUID, datetime], set[uuid.UUID]] = defaultdict(set)
    for request in requests.values():
        for move in moves[request.id]:
            if move.after is State.RUNNING:
                together[request.model_id, move.at].add(request.id)
    verdict.runs = len(together)
    verdict.shared = len({one for served in together.values() if len(served) > 1 for one in served})


def _recoveries(verdict: Verdict, requests, moves, injuries: Injuries, watch: Watch) -> None:
    for hit in injuries.hits:
        after = [[move for move in moves[request_id] if move.at > hit.at] for request_id in hit.requests]
        lost = [mine for mine in after if mine and mine[0].after is State.QUEUED]
        if not lost:
            verdict.unharmed += 1
            continue
        again = [move.at for mine in lost for move in mine if move.after is State.RUNNING]
        if not again:
            continue  # withdrawn, or among those that are stuck
        between = list(watch.between(hit.at, min(again)))
        away = seconds(between, without=lambda moment: not (moment.database and moment.live))
        busy = seconds(between, without=lambda moment: moment.database and moment.live and not moment.free)
        model_id = requests[hit.requests[0]].model_id
        others = [one.id for one in requests.values() if one.model_id == model_id and one.id not in hit.requests]
        began = [move.at for one in others for move in moves[one] if move.after is State.RUNNING]
        behind = any(hit.at < at < min(again) for at in began)
        verdict.recoveries.append(Recovery(hit.kind, (min(again) - hit.at).total_seconds(), away, busy, behind))


def number_of(request: DeletionRequest) -> int:
    """Which of the clients' requests it is."""
    return int(request.regulation.removeprefix(NUMBERED))


def quantiles(seconds: list[float]) -> tuple[float, float, float]:
    """Median, 99th percentile (nearest rank) and maximum."""
    ordered = sorted(seconds)
    return statistics.median(ordered), ordered[-(-99 * len(ordered) // 100) - 1], ordered[-1]
