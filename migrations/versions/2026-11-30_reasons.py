"""Why a job or a request stands where it does, as a code with parameters and not as a sentence

Sentences of earlier releases stay. Where they are ones that those releases wrote themselves, they get their code.
"""

import re
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "d2a7f05c3b18"
down_revision = "3f9b6c21d84e"
branch_labels = None
depends_on = None

_COLUMNS = (
    ("reason_code", sa.String(length=40)),
    ("reason_phase", sa.String(length=20)),
    ("reason_parameters", sa.JSON()),
)
_JOBS, _REQUESTS = (
    sa.table(
        name,
        sa.column("id", sa.Uuid()),
        sa.column("state", sa.String()),
        sa.column("reason", sa.String()),
        *(sa.column(column, kind) for column, kind in _COLUMNS),
        *more,
    )
    for name, more in (("jobs", ()), ("deletion_requests", (sa.column("job_id", sa.Uuid()),)))
)
_TRANSITIONS = sa.table("transitions", sa.column("id"), sa.column("request_id", sa.Uuid()), sa.column("reason"))

_RESTORE = "; restore it from a backup, then retry."
_FIXED = {
    "approved": "approved",
    "retried": "retried",
    "withdrawn": "withdrawn",
    "another request of its run was withdrawn": "run_withdrawn",
    "the worker was stopped": "worker_stopped",
    "the worker stopped answering": "worker_lost",
}
#: After the phase of the run.
_FIXED_IN_PHASE = {
    "out of memory on the device; use a larger one, then retry": "out_of_memory",
    "a disk has no room left; make some, then retry": "disk_full",
    "The artifact store has no room left.": "storage_full",
    f"The images are not in the artifact store{_RESTORE}": "images_missing",
    f"The images cannot be decoded: their file is damaged{_RESTORE}": "images_unreadable",
    "It cannot be decrypted: this is not the master key of when it was stored; restore it, then retry.": (
        "master_key_changed"
    ),
    f"It cannot be decrypted: the file was altered{_RESTORE}": "encrypted_file_altered",
    f"The stored checkpoint is not the one that was registered{_RESTORE}": "checkpoint_altered",
    f"A stored evaluation set is not the one that was registered{_RESTORE}": "evaluation_set_altered",
    "The stored anchors are not those that were registered; restore them from a backup, then retry.": "anchors_altered",
}
_PHASE = re.compile(r"(load|surrogates|unlearn|evaluate|publish): (.*)")
_ATTEMPTS = re.compile(r"(.*), (\d+) times")
_SPLIT = re.compile(r"the run for (\d+) requests failed \((.*)\); each is tried by itself")
_SECONDS = r"(?P<seconds>(?:\d+ days?, )?\d+:\d\d:\d\d(?:\.\d+)?)"
_LOST = (
    ("process_killed", re.compile(r"the worker's process was killed by (?P<signal>\w+)")),
    ("process_exited", re.compile(r"the worker's process ended with exit code (?P<status>\d+)")),
    ("process_stalled", re.compile(rf"the worker's process told of no progress for {_SECONDS}")),
    ("timed_out", re.compile(rf"the run took longer than {_SECONDS}, as long as one may take; a retry begins anew")),
)
_ERROR = re.compile(r"(\w+); the worker's log has the details")

_MEASURED = r"(?P<measured>-?[\d.]+|-?inf|nan)"
_LIMIT = r"(?P<limit>[\d.e+-]+)"
_OBJECTIONS = (
    ("weights_not_finite", re.compile("some weights are not finite")),
    ("forget_accuracy", re.compile(f"only {_MEASURED} % of the images to forget are misclassified")),
    (
        "robust_forget_accuracy",
        re.compile(f"only {_MEASURED} % of their views are misclassified, {_LIMIT} % are asked for"),
    ),
    (
        "membership_not_measured",
        re.compile(
            "nothing shows that the images to forget look like unseen ones: "
            f"that takes a test set of at least {_LIMIT} images"
        ),
    ),
    ("membership_advantage", re.compile(f"the membership advantage is {_MEASURED}, {_LIMIT} is allowed")),
    ("test_accuracy_drop", re.compile(f"A_test fell by {_MEASURED} points, {_LIMIT} are allowed")),
    ("collapse", re.compile(f"structural collapse is {_MEASURED}, {_LIMIT} is allowed")),
)

_Reason = dict[str, Any]


def upgrade() -> None:
    for table in ("jobs", "deletion_requests"):
        for name, kind in _COLUMNS:
            op.add_column(table, sa.Column(name, kind, nullable=True))
    for rows in (_JOBS, _REQUESTS):
        _fill(rows)


def downgrade() -> None:
    moves = sa.select(_TRANSITIONS.c.reason).where(_TRANSITIONS.c.request_id == _REQUESTS.c.id)
    op.execute(_sentence_from(_REQUESTS, moves.order_by(_TRANSITIONS.c.id.desc()).limit(1)))
    served = sa.select(sa.func.max(_REQUESTS.c.reason)).where(_REQUESTS.c.job_id == _JOBS.c.id)
    op.execute(_sentence_from(_JOBS, served))
    for table in ("deletion_requests", "jobs"):
        with op.batch_alter_table(table) as batch:
            for name, _ in reversed(_COLUMNS):
                batch.drop_column(name)


def _sentence_from(rows: sa.TableClause, sentence: sa.Select[Any]) -> sa.Update:
    is_new = (rows.c.reason.is_(None), rows.c.reason_code.is_not(None))
    return sa.update(rows).where(*is_new).values(reason=sentence.scalar_subquery())


def _fill(rows: sa.TableClause) -> None:
    connection = op.get_bind()
    with_sentence = sa.select(rows.c.id, rows.c.state, rows.c.reason).where(rows.c.reason.is_not(None))
    values = []
    for row in connection.execute(with_sentence):
        # Whoever declines a request may write what they like.
        reason = _reason("declined", text=row.reason) if row.state == "rejected" else _parsed(row.reason)
        if reason is not None:
            values.append(
                {
                    "row": row.id,
                    "reason_code": reason["code"],
                    "reason_phase": reason["phase"],
                    "reason_parameters": reason["parameters"] or sa.null(),
                }
            )
    for one in values:
        key = one.pop("row")
        connection.execute(sa.update(rows).where(rows.c.id == key).values(one))


def _parsed(sentence: str) -> _Reason | None:
    """The reason that earlier releases put like this; nothing if it is none of theirs."""
    if code := _FIXED.get(sentence):
        return _reason(code)
    for code, words in _LOST:
        if parts := words.fullmatch(sentence):
            return _reason(code, **{name: _PARAMETERS[name](value) for name, value in parts.groupdict().items()})
    if parts := _PHASE.fullmatch(sentence):
        return _in_phase(*parts.groups())
    if parts := _SPLIT.fullmatch(sentence):
        cause = _parsed(parts[2])
        return cause and _reason("run_split", requests=int(parts[1]), cause=cause)
    return _each_time(sentence) or _objections(sentence)


def _in_phase(phase: str, sentence: str) -> _Reason | None:
    if code := _FIXED_IN_PHASE.get(sentence):
        return {**_reason(code), "phase": phase}
    if parts := _ERROR.fullmatch(sentence):
        return {**_reason("unexpected_error", error=parts[1]), "phase": phase}
    return None


def _each_time(sentence: str) -> _Reason | None:
    parts = _ATTEMPTS.fullmatch(sentence)
    once = parts and _parsed(parts[1])
    return {**once, "parameters": {**once["parameters"], "attempts": int(parts[2])}} if parts and once else None


def _objections(sentence: str) -> _Reason | None:
    objections = [_objection(part) for part in sentence.split("; ")]
    return _reason("gate_objected", objections=objections) if all(objections) else None


def _objection(sentence: str) -> dict[str, Any] | None:
    for kind, words in _OBJECTIONS:
        if parts := words.fullmatch(sentence):
            values = {name: _PARAMETERS[name](value) for name, value in parts.groupdict().items()}
            limit = {"limit": 100.0 if kind == "forget_accuracy" else None}
            return {"kind": kind, "measured": None} | limit | values
    return None


def _measured(text: str) -> float | str:
    return text if text.endswith(("inf", "nan")) else float(text)


def _seconds(text: str) -> float:
    days, _, clock = text.rpartition(", ")
    hours, minutes, seconds = clock.split(":")
    return int(days.partition(" ")[0] or 0) * 86400 + int(hours) * 3600 + int(minutes) * 60 + float(seconds)


_PARAMETERS: dict[str, Callable[[str], Any]] = {
    "signal": str,
    "status": int,
    "seconds": _seconds,
    "measured": _measured,
    "limit": float,
}


def _reason(code: str, **parameters: Any) -> _Reason:
    return {"code": code, "phase": None, "parameters": parameters}
