"""Bodies of requests and answers about deletion requests. Times are UTC, links are paths."""

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Field

from service.deletion_requests.job_schemas import Progress, ReferenceAnswer, job_links
from service.registry import tables
from service.registry.evidence.certificates import CERTIFIED
from service.registry.fields import NAME, Unique
from service.registry.measurements.schemas import BeforeAndAfter, of_request
from service.registry.options import Options
from service.registry.states import ENDED, Disposition, State
from service.registry.training_data.affected_versions import AffectedVersion, Reach
from service.web.fields import Answer, Labels, RecordIdentifier, RequestBody, Text

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
    """A person, by the `subject_id` of training manifests."""

    subject_id: RecordIdentifier


class Refusal(RequestBody):
    """Why a deletion request is declined."""

    reason: Text = Field(min_length=1, max_length=500, description="Shown to whoever asked. Name no person.")


class Retries(RequestBody):
    """Which failed deletion requests to try again."""

    ids: list[uuid.UUID] = Field(min_length=1, max_length=100)


#: Who has to act next; nobody in the states that are missing.
_WAITING_ON = {
    State.QUEUED: "worker",
    State.AWAITING_APPROVAL: "approver",
    State.NEEDS_REVIEW: "operator",
    State.FAILED: "operator",
}


class Move(Answer):
    """One move from a state to the next."""

    at: datetime
    before: State | None
    after: State
    reason: str | None


class Ended(BaseModel):
    """The last event: nothing more will happen unless a person acts."""

    state: State
    reason: str | None
    version: int | None = Field(description="Number of the version that came of it.")


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
    def of(cls, affected: AffectedVersion) -> Self:
        """From its row, loaded with the model and the aliases."""
        version, name = affected.version, affected.version.model.name
        return cls(
            model=name,
            number=version.number,
            aliases=[alias.name for alias in version.aliases],
            state=affected.state,
            disposition=version.disposition,
            links={"version": f"/v1/models/{name}/versions/{version.number}"},
        )


class SuppressionAnswer(Answer):
    """A subject or a record that somebody has asked to be forgotten."""

    kind: str = Field(description="`subject` or `record`.")
    hmac: str = Field(description="How the HMAC that stands for it begins, in hex: the same means the same.")
    request: uuid.UUID
    at: datetime
    links: dict[str, str]

    @classmethod
    def of(cls, row: tables.Suppression) -> Self:
        """From its row."""
        links = {"request": f"/v1/deletion-requests/{row.request_id}"}
        return cls.from_row(row, hmac=row.hmac.hex()[:12], request=row.request_id, links=links)


class RequestAnswer(Answer):
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
    def of(cls, row: tables.DeletionRequest, **values: Any) -> Self:
        """From its row, loaded with the model, the job and the version."""
        job = row.job
        return cls.from_row(
            row,
            model=row.model.name,
            waiting_on=_WAITING_ON.get(row.state),
            duplicate_of=row.duplicate_of_id,
            progress=job,
            metrics=of_request(row.metrics, job.metrics),
            references=ReferenceAnswer.of_run(job),
            base_version=job.base_number,
            version=job.version.number if job.version else None,
            links=_request_links(row),
            **values,
        )


class AcceptedRequest(RequestAnswer):
    """A request, and how far what it names has spread."""

    reach: list[ReachedVersion] | None = Field(
        description="Every version that has learned what the request names, of this model and of others. Nothing if it "
        "brought images."
    )

    @classmethod
    def with_affected_versions(
        cls, row: tables.DeletionRequest, affected: Sequence[AffectedVersion] | None, **values: Any
    ) -> Self:
        """From its row and the affected versions (None for uploaded images)."""
        reach = None if affected is None else [ReachedVersion.of(version) for version in affected]
        return cls.of(row, reach=reach, **values)


class RequestDetails(AcceptedRequest):
    """A request with everything that happened to it."""

    history: list[Move] = Field(description="Oldest first.")

    @classmethod
    def with_history(
        cls, row: tables.DeletionRequest, moves: Sequence[tables.Transition], affected: Sequence[AffectedVersion] | None
    ) -> Self:
        """From its row, its transitions (oldest first) and the affected versions (None for uploaded images)."""
        return cls.with_affected_versions(row, affected, history=moves)


class Retried(BaseModel):
    """The outcome for one of the requests to retry."""

    id: uuid.UUID
    outcome: Literal["queued", "not-retriable", "not-found"]
    request: RequestAnswer | None = Field(description="As it is now; nothing if there is none.")


def _request_links(row: tables.DeletionRequest) -> dict[str, str]:
    here = f"/v1/deletion-requests/{row.id}"
    links = job_links(row.job, row.model)
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
