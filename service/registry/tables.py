"""The tables. Times are aware UTC, identifiers random UUIDs, constraint names predictable."""

import uuid
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    Enum,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
    Uuid,
    false,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from service.registry.reasons import Reason, ReasonCode
from service.registry.settings import DEFAULT_POOL
from service.registry.states import DeliveryState, Disposition, Phase, RequestStatus, State


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC time. SQLite stores no zone, so it is added when a row is read."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Refuse a naive time."""
        if value is not None and value.tzinfo is None:
            raise ValueError("an aware time is required")
        return value and value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Mark SQLite's naive times as UTC."""
        return value and (value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC))


class Base(DeclarativeBase):
    """The base of all tables: constraint names, and the column types of Python types."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012  (SQLAlchemy reads it from the class)
        datetime: UtcDateTime,
        dict[str, Any]: JSON,
        list[str]: JSON,
        State: Enum(State, native_enum=False, length=20, values_callable=lambda e: [m.value for m in e]),
        Phase: Enum(Phase, native_enum=False, length=20, values_callable=lambda e: [m.value for m in e]),
        ReasonCode: Enum(ReasonCode, native_enum=False, length=40, values_callable=lambda e: [m.value for m in e]),
        DeliveryState: Enum(
            DeliveryState, native_enum=False, length=20, values_callable=lambda e: [m.value for m in e]
        ),
        Disposition: Enum(Disposition, native_enum=False, length=20, values_callable=lambda e: [m.value for m in e]),
        RequestStatus: Enum(
            RequestStatus, native_enum=False, length=20, values_callable=lambda e: [m.value for m in e]
        ),
    }


class HasReason:
    """Why a row is in its state: a code with parameters; rows of earlier releases may have a sentence only."""

    reason_code: Mapped[ReasonCode | None]
    reason_phase: Mapped[Phase | None]  #: of the run in which it happened
    reason_parameters: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    reason_text: Mapped[str | None] = mapped_column("reason", String(500), key="reason_text")  #: of earlier releases

    @property
    def why(self) -> Reason | None:
        """The reason; `None` if there is none, or only the sentence of an earlier release."""
        if self.reason_code is None:
            return None
        return Reason(self.reason_code, self.reason_phase, self.reason_parameters or {})

    @why.setter
    def why(self, reason: Reason | None) -> None:
        self.reason_code = reason.code if reason else None
        self.reason_phase = reason.phase if reason else None
        self.reason_parameters = dict(reason.parameters) or None if reason else None
        self.reason_text = None

    @property
    def reason(self) -> str | None:
        """The reason as a sentence."""
        return self.reason_text if self.why is None else str(self.why)


class Tenant(Base):
    """A tenant, to which every other row belongs; one tenant cannot see another's."""

    __tablename__ = "tenants"

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, default=uuid.uuid4)
    name: Mapped[str] = mapped_column(String(100), unique=True)
    pseudonym_key: Mapped[bytes] = mapped_column(LargeBinary)  #: HMAC key for identifiers of subjects and images
    created_at: Mapped[datetime]


class ApiKey(Base):
    """The credentials of an API caller. The key itself is shown once and not stored."""

    __tablename__ = "api_keys"

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, default=uuid.uuid4)
    tenant_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tenants.id"))
    name: Mapped[str] = mapped_column(String(100))
    prefix: Mapped[str] = mapped_column(String(20), unique=True)  #: start of the key; finds the row
    last_four: Mapped[str] = mapped_column(String(4))
    digest: Mapped[str] = mapped_column(String(64))  #: SHA-256 of the key; it is random, so no slow hash is needed
    scopes: Mapped[list[str]]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]

    __table_args__ = (Index(None, "tenant_id", "created_at", "id"),)


class DashboardSession(Base):
    """A session of a browser that signed in to the dashboard with an API key. The cookie itself is not stored."""

    __tablename__ = "dashboard_sessions"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)  #: SHA-256 of the cookie, which is random
    key_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("api_keys.id"))
    expires_at: Mapped[datetime] = mapped_column(index=True)


class Creation(Base):
    """A creating HTTP request by its `Idempotency-Key`, with its response once it is done."""

    __tablename__ = "creations"

    tenant_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    operation: Mapped[str] = mapped_column(String(300), primary_key=True)  #: method and path
    key: Mapped[str] = mapped_column(String(255), primary_key=True)  #: an HMAC of the `Idempotency-Key`
    fingerprint: Mapped[str] = mapped_column(String(64))  #: HMAC of the request's content, keyed by the tenant
    attempt: Mapped[uuid.UUID] = mapped_column(Uuid)  #: identifies the process that handles it
    in_flight_until: Mapped[datetime]
    status: Mapped[int | None]  #: NULL while it is in flight
    headers: Mapped[dict[str, Any]]
    body: Mapped[bytes | None] = mapped_column(LargeBinary)
    expires_at: Mapped[datetime] = mapped_column(index=True)


class Model(Base):
    """A classifier with a name, and all its versions."""

    __tablename__ = "models"

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, default=uuid.uuid4)
    tenant_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tenants.id"))
    name: Mapped[str] = mapped_column(String(100))
    description: Mapped[str] = mapped_column(String(2000))
    policy: Mapped[dict[str, Any]]  #: the quality gate's limits, see `service.registry.models.quality_gate.Policy`
    approval_required: Mapped[bool]  #: whether a second person has to agree to each deletion request
    #: Runs since the last one that passed the gate.
    gate_failures: Mapped[int] = mapped_column(default=0, server_default="0")
    #: The pool of workers that run its jobs, see `service.registry.settings.RegistrySettings.pools`
    pool: Mapped[str] = mapped_column(String(40), default=DEFAULT_POOL, server_default=DEFAULT_POOL)
    created_at: Mapped[datetime]

    __table_args__ = (UniqueConstraint("tenant_id", "name"), Index(None, "tenant_id", "created_at", "id"))


class Version(Base):
    """One checkpoint of a model, immutable but for its tags and its disposition."""

    __tablename__ = "versions"

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, default=uuid.uuid4)
    model_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("models.id"))
    number: Mapped[int]
    parent_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("versions.id"), index=True)
    job_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("jobs.id"), unique=True)  #: a job publishes once
    architecture: Mapped[dict[str, Any]]
    classes: Mapped[list[str]]  #: names, in the order of the classifier's outputs
    preprocessing: Mapped[dict[str, Any]]
    attributes: Mapped[dict[str, Any]]  #: visual attributes per class for the anchors; may be empty
    checkpoint: Mapped[str] = mapped_column(String(200))  #: artifact key
    sha256: Mapped[str] = mapped_column(String(64))
    size: Mapped[int] = mapped_column(BigInteger)  #: bytes
    method: Mapped[str] = mapped_column(String(40))  #: "registered" or "structguard"
    config: Mapped[dict[str, Any]]  #: every hyper-parameter of the method, with the seed
    code_version: Mapped[str] = mapped_column(String(40))
    gate: Mapped[str | None] = mapped_column(String(20))  #: "passed", "needs_review", or NULL when registered
    metrics: Mapped[dict[str, Any]]
    tags: Mapped[dict[str, Any]] = mapped_column(default=dict)  #: set by the tenant
    disposition: Mapped[Disposition] = mapped_column(default=Disposition.KEPT, server_default=Disposition.KEPT.value)
    disposed_at: Mapped[datetime | None]  #: when it was last quarantined, deleted or kept again
    deleted_at: Mapped[datetime | None]  #: when the checkpoint was destroyed
    created_at: Mapped[datetime]

    model: Mapped[Model] = relationship(lazy="raise")
    parent: Mapped["Version | None"] = relationship(lazy="raise", remote_side="Version.id", back_populates="children")
    children: Mapped[list["Version"]] = relationship(
        lazy="raise", back_populates="parent", order_by="Version.number", viewonly=True
    )
    aliases: Mapped[list["Alias"]] = relationship(lazy="raise", order_by="Alias.name", viewonly=True)
    manifests: Mapped[list["Manifest"]] = relationship(lazy="raise", viewonly=True)

    __table_args__ = (
        UniqueConstraint("model_id", "number"),
        Index(
            "ix_versions_to_destroy",
            "id",
            sqlite_where=text("disposition = 'deleted' AND deleted_at IS NULL"),
            postgresql_where=text("disposition = 'deleted' AND deleted_at IS NULL"),
        ),
    )


class Alias(Base):
    """A name that points to one version of a model and can be moved, such as `production`."""

    __tablename__ = "aliases"

    model_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("models.id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    version_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("versions.id"), index=True)
    follows_gate: Mapped[bool]  #: whether it moves to a child of its version that passes the gate
    moved_at: Mapped[datetime]
    moved_by: Mapped[str] = mapped_column(String(200))

    version: Mapped[Version] = relationship(lazy="raise")


class Manifest(Base):
    """The training data of a version and of every version that descends from it.

    Its rows are `Record`s. Their URIs may hold people's names and are needed in plain text, to fetch the images: they
    are stored in the artifact `uris`, one line for each row, and not in the database.
    """

    __tablename__ = "manifests"

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, default=uuid.uuid4)
    version_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("versions.id"))
    name: Mapped[str] = mapped_column(String(100))
    uris: Mapped[str] = mapped_column(String(200))  #: artifact key
    #: Key of that file, wrapped by the master key; NULL for files of releases that did not encrypt
    uris_key: Mapped[bytes | None] = mapped_column(LargeBinary(60))
    count: Mapped[int]  #: rows
    suppressed: Mapped[int]  #: rows that were on the suppression list when it was registered
    created_at: Mapped[datetime]

    version: Mapped[Version] = relationship(lazy="raise")

    __table_args__ = (UniqueConstraint("version_id", "name"), Index(None, "version_id", "created_at", "id"))


class Record(Base):
    """One row of a manifest. HMACs are bytes here, not hex: there may be millions."""

    __tablename__ = "records"

    manifest_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("manifests.id"), primary_key=True)
    sample_hmac: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    row: Mapped[int]  #: from 0; the line of its URI in `uris`
    subject_hmac: Mapped[bytes | None] = mapped_column(LargeBinary(32))  #: NULL where no subject is given
    label: Mapped[int]  #: position of its class

    manifest: Mapped[Manifest] = relationship(lazy="raise")

    __table_args__ = (Index(None, "manifest_id", "subject_hmac"), {"sqlite_with_rowid": False})


class EvaluationSet(Base):
    """Labelled images on which versions of a model are measured."""

    __tablename__ = "evaluation_sets"

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, default=uuid.uuid4)
    model_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("models.id"))
    name: Mapped[str] = mapped_column(String(100))
    kind: Mapped[str] = mapped_column(String(10))  #: "test" gives A_test, "retain" gives A_r
    samples: Mapped[str] = mapped_column(String(200))  #: artifact key
    sha256: Mapped[str] = mapped_column(String(64))
    size: Mapped[int] = mapped_column(BigInteger)  #: bytes
    count: Mapped[int]
    created_at: Mapped[datetime]

    __table_args__ = (UniqueConstraint("model_id", "name"), Index(None, "model_id", "created_at", "id"))


class AnchorSet(Base):
    """Semantic anchors A (b × d), computed once and reused by every job with the same cache key."""

    __tablename__ = "anchor_sets"

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, default=uuid.uuid4)
    tenant_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tenants.id"))
    cache_key: Mapped[str] = mapped_column(String(64))
    encoder: Mapped[str] = mapped_column(String(200))
    encoder_digest: Mapped[str] = mapped_column(String(64))
    classes: Mapped[list[str]]
    descriptions: Mapped[list[str]]
    dimension: Mapped[int]
    anchors: Mapped[str] = mapped_column(String(200))  #: artifact key
    sha256: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime]

    __table_args__ = (UniqueConstraint("tenant_id", "cache_key"), Index(None, "tenant_id", "created_at", "id"))


class Job(HasReason, Base):
    """One unlearning run. The table is the queue; a broker message only makes a worker read it."""

    __tablename__ = "jobs"

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, default=uuid.uuid4)
    tenant_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tenants.id"))
    model_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("models.id"))
    base_number: Mapped[int | None]  #: number of the version the run started from, known once it runs
    state: Mapped[State]
    options: Mapped[dict[str, Any]]  #: as requested, see `service.registry.options.Options`
    attempt: Mapped[int] = mapped_column(default=0)
    #: Incremented by every claim; a worker with an older one cannot write
    fence: Mapped[int] = mapped_column(default=0)
    lease_until: Mapped[datetime | None]
    worker: Mapped[str | None] = mapped_column(String(200))
    cancel_requested: Mapped[bool] = mapped_column(default=False)
    #: Serves one request; no others are merged into it.
    alone: Mapped[bool] = mapped_column(default=False, server_default=false())
    phase: Mapped[Phase | None]
    step: Mapped[int] = mapped_column(default=0)
    total_steps: Mapped[int] = mapped_column(default=0)
    metrics: Mapped[dict[str, Any]]  #: {"before": …, "after": …}
    #: The inputs of metrics and gate: evaluation sets, anchors, policy, environment. NULL before it has run.
    provenance: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    seconds: Mapped[dict[str, Any]]  #: per phase
    peak_memory: Mapped[int | None] = mapped_column(BigInteger)  #: bytes resident in the worker's child
    created_at: Mapped[datetime]
    rung_at: Mapped[datetime | None]  #: when it was last announced to workers; the row is its own outbox
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]

    model: Mapped[Model] = relationship(lazy="raise")
    version: Mapped[Version | None] = relationship(
        lazy="raise", primaryjoin=lambda: Version.job_id == Job.id, viewonly=True, uselist=False
    )

    __table_args__ = (
        Index(None, "tenant_id", "created_at", "id"),
        Index("ix_jobs_queue", "state", "created_at"),
        Index("ix_jobs_line", "model_id", "state", "created_at"),
        Index(None, "tenant_id", "state"),
        # The database itself refuses a second running job of one model.
        Index(
            "uq_jobs_running_model",
            "model_id",
            unique=True,
            sqlite_where=text("state = 'running'"),
            postgresql_where=text("state = 'running'"),
        ),
    )


class StepMetric(Base):
    """One point of a job's curves."""

    __tablename__ = "step_metrics"

    job_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    fence: Mapped[int] = mapped_column(primary_key=True)  #: of the attempt that measured it
    step: Mapped[int] = mapped_column(primary_key=True)
    values: Mapped[dict[str, Any]]  #: forget_accuracy, collapse and the loss terms


class DeletionRequest(HasReason, Base):
    """A request to unlearn images from a model, and its state."""

    __tablename__ = "deletion_requests"

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, default=uuid.uuid4)
    tenant_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tenants.id"))
    model_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("models.id"))
    job_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("jobs.id"), index=True)
    submitted_by: Mapped[str] = mapped_column(String(200))  #: the caller; another one has to approve
    samples_hmac: Mapped[str] = mapped_column(String(64))  #: HMAC of the labelled images, keyed by the tenant
    #: An earlier request for the same images
    duplicate_of_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("deletion_requests.id"))
    state: Mapped[State]
    regulation: Mapped[str] = mapped_column(String(40))
    received_at: Mapped[datetime]
    due_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    samples: Mapped[str | None] = mapped_column(String(200))  #: artifact key, NULL once destroyed
    #: Key of that file, wrapped by the master key; NULL for files of releases that did not encrypt
    samples_key: Mapped[bytes | None] = mapped_column(LargeBinary(60))
    samples_destroyed_at: Mapped[datetime | None]
    sample_count: Mapped[int] = mapped_column(Integer)
    #: Withdrawn while it runs: its worker stops at the next step.
    withdrawn: Mapped[bool] = mapped_column(default=False, server_default=false())
    #: Its place in a distributed trace, as a `traceparent` value (W3C Trace Context).
    traceparent: Mapped[str | None] = mapped_column(String(55))
    #: Like `Job.metrics`, measured on its own images, where the run served several requests.
    metrics: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    certified_at: Mapped[datetime | None]  #: when its `Certificate` was issued
    #: From here on the row serves statistics only, see `service/registry/operations/retention.py`.
    record_removed_at: Mapped[datetime | None]

    model: Mapped[Model] = relationship(lazy="raise")
    job: Mapped[Job] = relationship(lazy="raise")

    __table_args__ = (
        Index(None, "tenant_id", "received_at", "id"),
        Index(None, "model_id", "received_at"),
        Index(None, "model_id", "samples_hmac", "received_at"),
        Index(None, "tenant_id", "state", "received_at", "id"),
        Index(
            "ix_deletion_requests_records",
            "ended_at",
            sqlite_where=text("record_removed_at IS NULL"),
            postgresql_where=text("record_removed_at IS NULL"),
        ),
        Index(
            "ix_deletion_requests_uncertified",
            "state",
            sqlite_where=text("certified_at IS NULL"),
            postgresql_where=text("certified_at IS NULL"),
        ),
        Index(
            "ix_deletion_requests_with_samples",
            "state",
            sqlite_where=text("samples IS NOT NULL"),
            postgresql_where=text("samples IS NOT NULL"),
        ),
        Index(
            "ix_deletion_requests_ended",
            "tenant_id",
            "ended_at",
            sqlite_where=text("ended_at IS NOT NULL"),
            postgresql_where=text("ended_at IS NOT NULL"),
        ),
    )


class Certificate(Base):
    """The signed certificate of a request that ended with a version. It never changes."""

    __tablename__ = "certificates"

    request_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("deletion_requests.id"), primary_key=True)
    body: Mapped[bytes] = mapped_column(LargeBinary)  #: the signed envelope, byte for byte as it is served
    sha256: Mapped[str] = mapped_column(String(64))  #: of the body
    key_id: Mapped[str] = mapped_column(String(64))  #: of the key that signed it
    issued_at: Mapped[datetime]


class ImageView(Base):
    """Images of a request were viewed."""

    __tablename__ = "image_views"

    id: Mapped[int] = mapped_column(primary_key=True)
    request_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("deletion_requests.id"), index=True)
    at: Mapped[datetime]
    by: Mapped[str] = mapped_column(String(200))  #: `key:` and the identifier of an API key
    first: Mapped[int]  #: position of the first image shown, from 0
    last: Mapped[int]  #: of the last one


class Suppression(Base):
    """A subject or record of a deletion request, so that a manifest that lists it again is reported."""

    __tablename__ = "suppressions"

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, default=uuid.uuid4)
    tenant_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tenants.id"))
    request_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("deletion_requests.id"), index=True)
    kind: Mapped[str] = mapped_column(String(10))  #: "subject" or "record"
    hmac: Mapped[bytes] = mapped_column(LargeBinary(32))
    at: Mapped[datetime]

    __table_args__ = (Index(None, "tenant_id", "hmac"), Index(None, "tenant_id", "at", "id"))


class Transition(Base):
    """One move of a deletion request from one state to the next."""

    __tablename__ = "transitions"

    id: Mapped[int] = mapped_column(primary_key=True)
    request_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("deletion_requests.id"), index=True)
    at: Mapped[datetime]
    before: Mapped[State | None]
    after: Mapped[State]
    reason: Mapped[str | None] = mapped_column(String(500))  #: a sentence; the audit log holds its HMAC
    #: Whether it was appended to the audit log; the row is its own outbox.
    chained: Mapped[bool] = mapped_column(default=False, server_default=false())
    seal: Mapped[bytes | None] = mapped_column(LargeBinary(32))  #: until chained, see `service.registry.audit.row_macs`

    __table_args__ = (
        Index(
            "ix_transitions_unchained",
            "id",
            sqlite_where=text("NOT chained"),
            postgresql_where=text("NOT chained"),
        ),
    )


class SubjectRequest(Base):
    """An OpenDSR erasure request for one person, served by a deletion request for each model trained on them."""

    __tablename__ = "subject_requests"

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, default=uuid.uuid4)
    tenant_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tenants.id"))
    subject_request_id: Mapped[uuid.UUID] = mapped_column(Uuid)  #: chosen by the controller
    fingerprint: Mapped[str] = mapped_column(String(64))  #: HMAC of the body, keyed by the tenant
    domain: Mapped[str] = mapped_column(String(253))  #: the processor's on receipt; callbacks name it
    status: Mapped[RequestStatus]  #: as last reported to the controller
    received_at: Mapped[datetime]
    due_at: Mapped[datetime]
    cancelled_at: Mapped[datetime | None]

    tenant: Mapped[Tenant] = relationship(lazy="raise")
    deletion_requests: Mapped[list[DeletionRequest]] = relationship(
        lazy="raise", secondary="erasures", order_by="DeletionRequest.id", viewonly=True
    )

    __table_args__ = (UniqueConstraint("tenant_id", "subject_request_id"),)


class SubjectIdentity(Base):
    """An identity that an OpenDSR request names, by the HMAC that `Record.subject_hmac` holds for it."""

    __tablename__ = "subject_identities"

    request_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("subject_requests.id"), primary_key=True)
    hmac: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)


class Erasure(Base):
    """A deletion request that serves an OpenDSR request."""

    __tablename__ = "erasures"

    deletion_request_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("deletion_requests.id"), primary_key=True)
    request_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("subject_requests.id"), index=True)


class WebhookEndpoint(Base):
    """A URL that receives a tenant's webhooks. Its signing keys are stored wrapped by the master key."""

    __tablename__ = "webhook_endpoints"

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, default=uuid.uuid4)
    tenant_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tenants.id"))
    url: Mapped[str] = mapped_column(String(2000))
    events: Mapped[list[str]]  #: event types that it subscribes to; empty means all
    description: Mapped[str] = mapped_column(String(2000))
    secret: Mapped[bytes] = mapped_column(LargeBinary)  #: the HMAC-SHA256 key, wrapped
    previous_secret: Mapped[bytes | None] = mapped_column(LargeBinary)
    previous_secret_until: Mapped[datetime | None]
    private_key: Mapped[bytes] = mapped_column(LargeBinary)  #: the Ed25519 key, wrapped
    disabled_at: Mapped[datetime | None]
    disabled_reason: Mapped[str | None] = mapped_column(String(200))
    created_at: Mapped[datetime]

    status_callback: Mapped["StatusCallback | None"] = relationship(lazy="raise", viewonly=True)

    __table_args__ = (Index(None, "tenant_id", "created_at", "id"),)


class StatusCallback(Base):
    """Marks an endpoint as the status callback of an OpenDSR request: it receives that request's updates only."""

    __tablename__ = "status_callbacks"

    endpoint_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("webhook_endpoints.id", ondelete="CASCADE"), primary_key=True
    )
    request_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("subject_requests.id"), index=True)


class WebhookMessage(Base):
    """The content of a webhook, stored in the transaction of its event."""

    __tablename__ = "webhook_messages"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)  #: the `webhook-id` of every attempt
    type: Mapped[str] = mapped_column(String(60))
    body: Mapped[str] = mapped_column(Text)  #: JSON, byte for byte as it is sent and signed
    created_at: Mapped[datetime] = mapped_column(index=True)


class WebhookDelivery(Base):
    """One message for one endpoint, and its state."""

    __tablename__ = "webhook_deliveries"

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, default=uuid.uuid4)
    message_id: Mapped[str] = mapped_column(ForeignKey("webhook_messages.id", ondelete="CASCADE"), index=True)
    endpoint_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("webhook_endpoints.id", ondelete="CASCADE"))
    state: Mapped[DeliveryState]
    tries: Mapped[int] = mapped_column(default=0)  #: attempts since it was created or replayed
    next_at: Mapped[datetime | None]  #: NULL once it has ended
    lease_until: Mapped[datetime | None]  #: while a sender holds it; also identifies the claim
    created_at: Mapped[datetime]

    message: Mapped[WebhookMessage] = relationship(lazy="raise")
    endpoint: Mapped[WebhookEndpoint] = relationship(lazy="raise")
    attempts: Mapped[list["WebhookAttempt"]] = relationship(
        lazy="raise", order_by="WebhookAttempt.id", passive_deletes=True
    )

    __table_args__ = (
        Index(None, "endpoint_id", "created_at", "id"),
        Index("ix_webhook_deliveries_due", "endpoint_id", "state", "next_at"),
        Index(
            "ix_webhook_deliveries_unsent",
            "state",
            "created_at",
            sqlite_where=text("state <> 'succeeded'"),
            postgresql_where=text("state <> 'succeeded'"),
        ),
    )


class WebhookAttempt(Base):
    """One POST to an endpoint, and its result."""

    __tablename__ = "webhook_attempts"

    id: Mapped[int] = mapped_column(primary_key=True)
    delivery_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("webhook_deliveries.id", ondelete="CASCADE"), index=True)
    at: Mapped[datetime]
    status: Mapped[int | None]
    error: Mapped[str | None] = mapped_column(String(40))  #: an error name, where there was no response
    milliseconds: Mapped[int]


class Tally(Base):
    """Part of a metric, see `service.registry.telemetry.counters`. A row is one event, or the sum of many."""

    __tablename__ = "tallies"

    id: Mapped[int] = mapped_column(primary_key=True)
    counted: Mapped[str] = mapped_column(String(30))
    label: Mapped[str] = mapped_column(String(30))
    bucket: Mapped[float | None]  #: upper bound; NULL for the last bucket, and for counters
    count: Mapped[int] = mapped_column(BigInteger)
    total: Mapped[float]  #: sum of the measured values


class AuditEvent(Base):
    """An event, stored in its transaction until it is appended to the audit log: see `service.registry.audit`."""

    __tablename__ = "audit_events"

    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tenants.id"))
    at: Mapped[datetime]
    event: Mapped[str] = mapped_column(String(60))
    about: Mapped[uuid.UUID | None] = mapped_column(Uuid)  #: the request, version, key or webhook
    by: Mapped[str] = mapped_column(String(200))
    facts: Mapped[dict[str, Any]]
    #: MAC of the row, see `service.registry.audit.row_macs`
    seal: Mapped[bytes | None] = mapped_column(LargeBinary(32))

    __table_args__ = (Index(None, "tenant_id", "id"),)


class AuditEntry(Base):
    """One entry of a tenant's hash chain, append-only."""

    __tablename__ = "audit_entries"

    tenant_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    height: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)  #: from 1, without a gap
    previous: Mapped[bytes] = mapped_column(LargeBinary(32))  #: hash of the entry before
    entry: Mapped[str] = mapped_column(Text)  #: canonical JSON (RFC 8785), byte for byte as hashed
    sha256: Mapped[bytes] = mapped_column(LargeBinary(32))  #: of `previous` and `entry`
    about: Mapped[uuid.UUID | None] = mapped_column(Uuid)  #: as in the entry, for look-ups

    __table_args__ = (Index(None, "tenant_id", "about", "height"),)


class AuditHead(Base):
    """The last entry of a tenant's chain. Appending locks this row, so that the chain never forks."""

    __tablename__ = "audit_heads"

    tenant_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    height: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[bytes] = mapped_column(LargeBinary(32))
    altered_at: Mapped[datetime | None]  #: when an event that failed its MAC was last chained


class AuditCheckpoint(Base):
    """A signed head: any change to the chain up to its height can be detected."""

    __tablename__ = "audit_checkpoints"

    tenant_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    height: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    sha256: Mapped[bytes] = mapped_column(LargeBinary(32))
    at: Mapped[datetime]
    key_id: Mapped[str] = mapped_column(String(64))
    signature: Mapped[bytes] = mapped_column(LargeBinary(64))


class AuditVerification(Base):
    """How far a tenant's chain has been verified, and the first break."""

    __tablename__ = "audit_verifications"

    tenant_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    height: Mapped[int] = mapped_column(BigInteger)  #: all entries up to here were verified
    sha256: Mapped[bytes] = mapped_column(LargeBinary(32))  #: of the entry at `height`
    at: Mapped[datetime]
    full_at: Mapped[datetime | None]  #: when the last verification from the first entry ended
    again_from: Mapped[int | None] = mapped_column(BigInteger)  #: reached by one under way
    broken_at: Mapped[datetime | None]  #: when a break was found
    broken_height: Mapped[int | None] = mapped_column(BigInteger)
    broken: Mapped[str | None] = mapped_column(String(200))  #: what is wrong there
