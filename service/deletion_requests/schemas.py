"""Bodies of requests and answers about deletion requests and their jobs. Times are UTC, links are paths."""

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, Self, cast

from pydantic import BaseModel, Field

from service.registry import tables
from service.registry.evidence.certificates import CERTIFIED
from service.registry.fields import NAME, Unique
from service.registry.measurements import BeforeAndAfter
from service.registry.options import Options
from service.registry.states import ENDED, Disposition, Phase, State
from service.registry.training_data.affected_versions import Reach, Reached
from service.registry.training_data.reference_models import LeftOut
from service.web.fields import Labels, RecordIdentifier, RequestBody, Text

RETRY_AFTER = 5
"""Seconds until it is worth looking again; a run takes seconds to minutes."""


RecordIdentifiers = Annotated[Unique[RecordIdentifier], Field(min_length=1, max_length=100_000)]


class NewDeletionRequest(RequestBody):
    """What is to be forgotten, and how: images come along, or are those of a subject, or of records by identifier."""

    model: str = Field(pattern=NAME)
    labels: Labels | None = None
    subject_id: RecordIdentifier | None = Field(
        default=None, description="Every record of this person in the manifests of the model's lineage."
    )
    sample_ids: RecordIdentifiers | None = Field(
        default=None, description="These records, from the manifests of the model's lineage."
    )
    regulation: str = Field(
        default="gdpr", pattern="^[a-z0-9_-]{1,40}$", description="Sets the deadline: `gdpr`, `ccpa`, or another name."
    )
    options: Options = Options()


class Subject(RequestBody):
    """Somebody, by the identifier that training manifests have for them."""

    subject_id: RecordIdentifier


class Refusal(RequestBody):
    """Why a deletion request is declined."""

    reason: Text = Field(min_length=1, max_length=500, description="Shown to whoever asked. Name no person.")


class Retries(RequestBody):
    """Which failed deletion requests to try again."""

    ids: list[uuid.UUID] = Field(min_length=1, max_length=100)


#: Who has to act next. Nobody, while it runs or when it has come to its end.
_WAITING_ON = {
    State.QUEUED: "worker",
    State.AWAITING_APPROVAL: "approver",
    State.NEEDS_REVIEW: "operator",
    State.FAILED: "operator",
}


class Progress(BaseModel):
    """Where the job is."""

    phase: Phase | None
    step: int
    total: int = Field(description="Steps of this phase; 0 if they are not known.")
    attempt: int

    @classmethod
    def of(cls, job: tables.Job) -> Self:
        """From the job's row."""
        return cls(phase=job.phase, step=job.step, total=job.total_steps, attempt=job.attempt)


class Move(BaseModel):
    """One move from a state to the next."""

    at: datetime
    before: State | None
    after: State
    reason: str | None

    @classmethod
    def of(cls, row: tables.Transition) -> Self:
        """From its row."""
        return cls(at=row.at, before=row.before, after=row.after, reason=row.reason)


class ReferenceAnswer(BaseModel):
    """A reference model that membership inference was to compare with."""

    model: str
    version: int = Field(description="Number of the version.")
    sha256: str
    left_out: LeftOut | None = Field(
        description="Why `lira` and `rmia` do without it: when the request was run the version was `deleted` or "
        "`quarantined`, its checkpoint `missing` or `altered`, or there was no test set of 100 images (`no_test_set`)."
    )

    @classmethod
    def of_run(cls, job: tables.Job) -> list[Self]:
        """From the job's row."""
        found = []
        for kept in (job.provenance or {}).get("references", ()):
            model, _, version = kept["name"].rpartition("/")
            found.append(
                cls(model=model, version=int(version), sha256=kept["digest"]["sha256"], left_out=kept["left_out"])
            )
        return found


class ReachedVersion(BaseModel):
    """A version that has learned from the records, by a manifest of its own or of a version that it descends from."""

    model: str
    number: int
    aliases: list[str] = Field(description="Names that point to it now.")
    state: Reach = Field(
        description="`unlearned`: it, or a version that it descends from, has come out of a run that passed the gate "
        "and was asked to forget them. `pending`: requests under way for this model name them. `needs_unlearning`: "
        "neither; a version from before such a run stays so, and is the owner's, or the model's policy, to take out of "
        "use."
    )
    disposition: Disposition = Field(description="Whether it is in use: `kept`, `quarantined` or `deleted`.")
    links: dict[str, str]

    @classmethod
    def of(cls, reached: Reached) -> Self:
        """From its row, loaded with the model and the aliases."""
        version, name = reached.version, reached.version.model.name
        return cls(
            model=name,
            number=version.number,
            aliases=[alias.name for alias in version.aliases],
            state=reached.state,
            disposition=version.disposition,
            links={"version": f"/v1/models/{name}/versions/{version.number}"},
        )


class SuppressionAnswer(BaseModel):
    """A subject or a record that somebody has asked to be forgotten."""

    kind: str = Field(description="`subject` or `record`.")
    hmac: str = Field(description="How the HMAC that stands for it begins, in hex: the same means the same.")
    request: uuid.UUID
    at: datetime
    links: dict[str, str]

    @classmethod
    def of(cls, row: tables.Suppression) -> Self:
        """From its row."""
        return cls(
            kind=row.kind,
            hmac=row.hmac.hex()[:12],
            request=row.request_id,
            at=row.at,
            links={"request": f"/v1/deletion-requests/{row.request_id}"},
        )


class RequestAnswer(BaseModel):
    """What somebody asked to be forgotten, and how far that is."""

    id: uuid.UUID
    model: str
    state: State
    reason: str | None
    waiting_on: str | None = Field(description="`worker`, `approver`, `operator`, or nobody.")
    regulation: str
    received_at: datetime
    due_at: datetime = Field(description="When the person must have an answer.")
    ended_at: datetime | None
    sample_count: int = Field(description="Images to forget.")
    duplicate_of: uuid.UUID | None = Field(
        description="An earlier request for the very same images of this model. This one is run all the same."
    )
    samples_destroyed_at: datetime | None
    progress: Progress
    metrics: BeforeAndAfter = Field(
        description="Where several requests shared the run, `forget_accuracy` and `robust_forget_accuracy` are those "
        "of this one's images. The run's own stand in its job; everything else is the run's."
    )
    references: list[ReferenceAnswer] = Field(description="Reference models; empty until it has run.")
    base_version: int | None = Field(description="Number of the version that was unlearned from.")
    version: int | None = Field(description="Number of the version that came of it.")
    links: dict[str, str]

    @classmethod
    def of(cls, row: tables.DeletionRequest, **more: Any) -> Self:
        """From its row, loaded with the model, the job and the version."""
        job = row.job
        return cls(
            id=row.id,
            model=row.model.name,
            state=row.state,
            reason=row.reason,
            waiting_on=_WAITING_ON.get(row.state),
            regulation=row.regulation,
            received_at=row.received_at,
            due_at=row.due_at,
            ended_at=row.ended_at,
            sample_count=row.sample_count,
            duplicate_of=row.duplicate_of_id,
            samples_destroyed_at=row.samples_destroyed_at,
            progress=Progress.of(job),
            metrics=_metrics(row),
            references=ReferenceAnswer.of_run(job),
            base_version=job.base_number,
            version=job.version.number if job.version else None,
            links=_request_links(row),
            **more,
        )


class AcceptedRequest(RequestAnswer):
    """A request, and how far what it names has spread."""

    reach: list[ReachedVersion] | None = Field(
        description="Every version that has learned what the request names, of this model and of others. Nothing if it "
        "brought images."
    )

    @classmethod
    def with_reach(cls, row: tables.DeletionRequest, reached: Sequence[Reached] | None, **more: Any) -> Self:
        """From its row and its reach."""
        reach = None if reached is None else [ReachedVersion.of(found) for found in reached]
        return cls.of(row, reach=reach, **more)


class RequestDetails(AcceptedRequest):
    """A request with everything that happened to it."""

    history: list[Move] = Field(description="Oldest first.")

    @classmethod
    def with_history(
        cls, row: tables.DeletionRequest, moves: Sequence[tables.Transition], reached: Sequence[Reached] | None
    ) -> Self:
        """From its row, its moves and its reach."""
        return cls.with_reach(row, reached, history=[Move.of(move) for move in moves])


class Retried(BaseModel):
    """What became of one of many that were to be retried."""

    id: uuid.UUID
    outcome: Literal["queued", "not-retriable", "not-found"]
    request: RequestAnswer | None = Field(description="As it is now; nothing if there is none.")


class JobAnswer(BaseModel):
    """One unlearning run."""

    id: uuid.UUID
    model: str
    state: State
    reason: str | None
    options: Options
    progress: Progress
    metrics: BeforeAndAfter
    references: list[ReferenceAnswer] = Field(description="Reference models; empty until it has run.")
    seconds: dict[str, float] = Field(description="Per phase.")
    peak_memory_bytes: int | None = Field(description="Resident in the process that ran it.")
    base_version: int | None
    version: int | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    links: dict[str, str]

    @classmethod
    def of(cls, row: tables.Job) -> Self:
        """From its row, loaded with the model and the version."""
        return cls(
            id=row.id,
            model=row.model.name,
            state=row.state,
            reason=row.reason,
            options=Options.model_validate(row.options),
            progress=Progress.of(row),
            metrics=cast("BeforeAndAfter", row.metrics),
            references=ReferenceAnswer.of_run(row),
            seconds=row.seconds,
            peak_memory_bytes=row.peak_memory,
            base_version=row.base_number,
            version=row.version.number if row.version else None,
            created_at=row.created_at,
            started_at=row.started_at,
            finished_at=row.finished_at,
            links=_job_links(row, row.model),
        )


class StepAnswer(BaseModel, extra="allow"):
    """One point of a job's curves: `forget_accuracy`, `collapse` and the terms of the objective."""

    step: int

    @classmethod
    def of(cls, row: tables.StepMetric) -> Self:
        """From its row."""
        return cls.model_validate({**row.values, "step": row.step})


def _job_links(job: tables.Job, model: tables.Model) -> dict[str, str]:
    here = f"/v1/jobs/{job.id}"
    links = {"self": here, "steps": f"{here}/steps", "model": f"/v1/models/{model.name}"}
    if job.version is not None:
        links["version"] = f"/v1/models/{model.name}/versions/{job.version.number}"
        links["checkpoint"] = f"{links['version']}/checkpoint"
    return links


def _metrics(row: tables.DeletionRequest) -> BeforeAndAfter:
    own = row.metrics or {}
    return cast("BeforeAndAfter", {when: values | own.get(when, {}) for when, values in row.job.metrics.items()})


def _request_links(row: tables.DeletionRequest) -> dict[str, str]:
    here = f"/v1/deletion-requests/{row.id}"
    links = _job_links(row.job, row.model)
    links |= {"self": here, "events": f"{here}/events", "job": links["self"]}
    if row.state in CERTIFIED:
        links["certificate"] = f"{here}/certificate"
    if row.state in ENDED:
        links["evidence"] = f"{here}/evidence"
    else:
        links["cancel"] = f"{here}/cancel"
    if row.state is State.AWAITING_APPROVAL:
        links |= {"approve": f"{here}/approve", "reject": f"{here}/reject"}
    if row.state is State.FAILED and row.samples is not None:
        links["retry"] = f"{here}/retry"
    return links
