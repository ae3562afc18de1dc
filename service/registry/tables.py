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
    """An aware UTC time. SQLite stores no zone, so it is put back on the way out."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Refuse a naive time."""
        if value is not None and value.tzinfo is None:
            raise ValueError("an aware time is required")
        return value and value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Give SQLite's naive times their zone back."""
        return value and (value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC))


class Base(DeclarativeBase):
    """What all tables share."""

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
    """Why a row is in its state: a code or, of an earlier release whose words stand for none, only its sentence."""

    reason_code: Mapped[ReasonCode | None]
    reason_phase: Mapped[Phase | None]  #: in which it came up
    reason_parameters: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    reason_text: Mapped[str | None] = mapped_column("reason", String(500), key="reason_text")  #: of earlier releases

    @property
    def why(self) -> Reason | None:
        """The reason, as far as its code is known."""
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
        """The same as a sentence."""
        return self.reason_text if self.why is None else str(self.why)


class Tenant(Base):
    """Whose everything else is; one tenant sees nothing of another."""

    __tablename__ = "tenants"

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, default=uuid.uuid4)
    name: Mapped[str] = mapped_column(String(100), unique=True)
    pseudonym_key: Mapped[bytes] = mapped_column(LargeBinary)  #: of the HMACs that stand for people and their images
    created_at: Mapped[datetime]


class ApiKey(Base):
    """What a caller proves itself with. The secret itself is shown once and kept nowhere."""

    __tablename__ = "api_keys"

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, default=uuid.uuid4)
    tenant_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tenants.id"))
    name: Mapped[str] = mapped_column(String(100))
    prefix: Mapped[str] = mapped_column(String(20), unique=True)  #: how the key begins; finds the row
    last_four: Mapped[str] = mapped_column(String(4))
    digest: Mapped[str] = mapped_column(String(64))  #: SHA-256 of the whole key, which is random enough for it
    scopes: Mapped[list[str]]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]

    __table_args__ = (Index(None, "tenant_id", "created_at", "id"),)


class DashboardSession(Base):
    """Somebody who has signed in to the dashboard with an API key. What the cookie holds is kept nowhere."""

    __tablename__ = "dashboard_sessions"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)  #: SHA-256 of the cookie, which is random
    key_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("api_keys.id"))
    expires_at: Mapped[datetime] = mapped_column(index=True)


class Creation(Base):
    """A creating request under its `Idempotency-Key`, and once it is done the answer that it got."""

    __tablename__ = "creations"

    tenant_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    operation: Mapped[str] = mapped_column(String(300), primary_key=True)  #: method and path
    key: Mapped[str] = mapped_column(String(255), primary_key=True)  #: an HMAC of what the caller sent
    fingerprint: Mapped[str] = mapped_column(String(64))  #: keyed by the tenant, of what was sent
    attempt: Mapped[uuid.UUID] = mapped_column(Uuid)  #: of the process that works on it
    in_flight_until: Mapped[datetime]
    status: Mapped[int | None]  #: nothing while it is in flight
    headers: Mapped[dict[str, Any]]
    body: Mapped[bytes | None] = mapped_column(LargeBinary)
    expires_at: Mapped[datetime] = mapped_column(index=True)


class Model(Base):
    """A classifier under one name, through all its versions."""

    __tablename__ = "models"

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, default=uuid.uuid4)
    tenant_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tenants.id"))
    name: Mapped[str] = mapped_column(String(100))
    description: Mapped[str] = mapped_column(String(2000))
    policy: Mapped[dict[str, Any]]  #: the quality gate's limits, see `service.registry.models.quality_gate.Policy`
    approval_required: Mapped[bool]  #: whether a second person has to agree to each deletion request
    #: Runs since the last one that passed the gate.
    gate_failures: Mapped[int] = mapped_column(default=0, server_default="0")
    #: of the workers that run its jobs, see `service.registry.settings.RegistrySettings.pools`
    pool: Mapped[str] = mapped_column(String(40), default=DEFAULT_POOL, server_default=DEFAULT_POOL)
    created_at: Mapped[datetime]

    __table_args__ = (UniqueConstraint("tenant_id", "name"), Index(None, "tenant_id", "created_at", "id"))


class Version(Base):
    """One checkpoint of a model, immutable once written but for its tags, and for what becomes of it."""

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
    gate: Mapped[str | None] = mapped_column(String(20))  #: "passed", "needs_review", or nothing when registered
    metrics: Mapped[dict[str, Any]]
    tags: Mapped[dict[str, Any]] = mapped_column(default=dict)  #: of the owner's choosing
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
    follows_gate: Mapped[bool]  #: whether it moves on when a run makes a version of its version that passes
    moved_at: Mapped[datetime]
    moved_by: Mapped[str] = mapped_column(String(200))

    version: Mapped[Version] = relationship(lazy="raise")


class Manifest(Base):
    """What a version was trained on, and with it every version that descends from it.

    Its rows are `Record`s. Their URIs may be people's names and are needed as they are, to fetch the images: they stand
    in the artifact `uris`, one line for each row, and nowhere in the database.
    """

    __tablename__ = "manifests"

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, default=uuid.uuid4)
    version_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("versions.id"))
    name: Mapped[str] = mapped_column(String(100))
    uris: Mapped[str] = mapped_column(String(200))  #: artifact key
    uris_key: Mapped[bytes | None] = mapped_column(
        LargeBinary(60)
    )  #: of that file, wrapped by the master key; nothing for files of releases that did not encrypt
    count: Mapped[int]  #: rows
    suppressed: Mapped[int]  #: rows that stood on the suppression list when it was registered
    created_at: Mapped[datetime]

    version: Mapped[Version] = relationship(lazy="raise")

    __table_args__ = (UniqueConstraint("version_id", "name"), Index(None, "version_id", "created_at", "id"))


class Record(Base):
    """One row of a manifest. HMACs are bytes here, not hex: there may be millions."""

    __tablename__ = "records"

    manifest_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("manifests.id"), primary_key=True)
    sample_hmac: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    row: Mapped[int]  #: from 0; the line of its URI in `uris`
    subject_hmac: Mapped[bytes | None] = mapped_column(LargeBinary(32))  #: nothing where nobody is known
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
    """Semantic anchors A (b × d), computed once and reused by every job whose key is the same."""

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
    """One unlearning run. The table is the queue; a message to a worker is only a hint to look here."""

    __tablename__ = "jobs"

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, default=uuid.uuid4)
    tenant_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tenants.id"))
    model_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("models.id"))
    base_number: Mapped[int | None]  #: number of the version the run started from, known once it runs
    state: Mapped[State]
    options: Mapped[dict[str, Any]]  #: what the caller asked for, see `service.registry.options.Options`
    attempt: Mapped[int] = mapped_column(default=0)
    fence: Mapped[int] = mapped_column(
        default=0
    )  #: grows with every claim; a worker with an older one publishes nothing
    lease_until: Mapped[datetime | None]
    worker: Mapped[str | None] = mapped_column(String(200))
    cancel_requested: Mapped[bool] = mapped_column(default=False)
    #: Serves one request, and takes no others along.
    alone: Mapped[bool] = mapped_column(default=False, server_default=false())
    phase: Mapped[Phase | None]
    step: Mapped[int] = mapped_column(default=0)
    total_steps: Mapped[int] = mapped_column(default=0)
    metrics: Mapped[dict[str, Any]]  #: {"before": …, "after": …}
    #: What the metrics and the gate's verdict rest on: sets, anchors, policy, environment. Nothing before it has run.
    provenance: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    seconds: Mapped[dict[str, Any]]  #: per phase
    peak_memory: Mapped[int | None] = mapped_column(BigInteger)  #: bytes resident in the worker's child
    created_at: Mapped[datetime]
    rung_at: Mapped[datetime | None]  #: when a worker was last told; the row is its own outbox
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
    """What somebody asked to be forgotten, and how far that is."""

    __tablename__ = "deletion_requests"

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, default=uuid.uuid4)
    tenant_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tenants.id"))
    model_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("models.id"))
    job_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("jobs.id"), index=True)
    submitted_by: Mapped[str] = mapped_column(String(200))  #: who asked; somebody else has to approve
    samples_hmac: Mapped[str] = mapped_column(String(64))  #: keyed by the tenant; the same images have the same one
    duplicate_of_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("deletion_requests.id"))  #: the same, earlier
    state: Mapped[State]
    regulation: Mapped[str] = mapped_column(String(40))
    received_at: Mapped[datetime]
    due_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    samples: Mapped[str | None] = mapped_column(String(200))  #: artifact key, nothing once destroyed
    samples_key: Mapped[bytes | None] = mapped_column(
        LargeBinary(60)
    )  #: of that file, wrapped by the master key; nothing for the files of releases that did not encrypt
    samples_destroyed_at: Mapped[datetime | None]
    sample_count: Mapped[int] = mapped_column(Integer)
    #: While it runs: its worker hears of it at the next step.
    withdrawn: Mapped[bool] = mapped_column(default=False, server_default=false())
    #: Where it belongs in a distributed trace, as of W3C Trace Context.
    traceparent: Mapped[str | None] = mapped_column(String(55))
    #: As those of a job, of its own images, where the run served several requests.
    metrics: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    certified_at: Mapped[datetime | None]  #: when its `Certificate` was issued
    #: From here on it is a row that figures are counted from, and nothing else: `registry/operations/retention.py`.
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
    body: Mapped[bytes] = mapped_column(LargeBinary)  #: the envelope, byte for byte as it is handed out
    sha256: Mapped[str] = mapped_column(String(64))  #: of the body
    key_id: Mapped[str] = mapped_column(String(64))  #: of the key that signed it
    issued_at: Mapped[datetime]


class ImageView(Base):
    """Somebody looked at images that a request brought."""

    __tablename__ = "image_views"

    id: Mapped[int] = mapped_column(primary_key=True)
    request_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("deletion_requests.id"), index=True)
    at: Mapped[datetime]
    by: Mapped[str] = mapped_column(String(200))  #: `key:` and an identifier, nobody's name
    first: Mapped[int]  #: position of the first image shown, from 0
    last: Mapped[int]  #: of the last one


class Suppression(Base):
    """A subject or a record that a deletion request has named: whoever trains on it again shall be told."""

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
    reason: Mapped[str | None] = mapped_column(String(500))  #: the sentence, of which the audit log keeps an HMAC
    #: Whether it stands in the audit log; the row is its own outbox.
    chained: Mapped[bool] = mapped_column(default=False, server_default=false())
    seal: Mapped[bytes | None] = mapped_column(LargeBinary(32))  #: until then, see `service.registry.audit.row_macs`

    __table_args__ = (
        Index(
            "ix_transitions_unchained",
            "id",
            sqlite_where=text("NOT chained"),
            postgresql_where=text("NOT chained"),
        ),
    )


class SubjectRequest(Base):
    """What a controller has sent by OpenDSR: a person to erase, by a deletion request for each model with them."""

    __tablename__ = "subject_requests"

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, default=uuid.uuid4)
    tenant_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tenants.id"))
    subject_request_id: Mapped[uuid.UUID] = mapped_column(Uuid)  #: the controller's
    fingerprint: Mapped[str] = mapped_column(String(64))  #: keyed by the tenant, of the body
    domain: Mapped[str] = mapped_column(String(253))  #: ours when it came; callbacks name it, too
    status: Mapped[RequestStatus]  #: as the controller was last told
    received_at: Mapped[datetime]
    due_at: Mapped[datetime]
    cancelled_at: Mapped[datetime | None]

    tenant: Mapped[Tenant] = relationship(lazy="raise")
    deletion_requests: Mapped[list[DeletionRequest]] = relationship(
        lazy="raise", secondary="erasures", order_by="DeletionRequest.id", viewonly=True
    )

    __table_args__ = (UniqueConstraint("tenant_id", "subject_request_id"),)


class SubjectIdentity(Base):
    """Whom an OpenDSR request names: the same HMACs that training manifests have for their subjects."""

    __tablename__ = "subject_identities"

    request_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("subject_requests.id"), primary_key=True)
    hmac: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)


class Erasure(Base):
    """A deletion request that serves an OpenDSR request."""

    __tablename__ = "erasures"

    deletion_request_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("deletion_requests.id"), primary_key=True)
    request_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("subject_requests.id"), index=True)


class WebhookEndpoint(Base):
    """Where a tenant is called back. Signing takes its keys, and no hash would do: the master key wraps them."""

    __tablename__ = "webhook_endpoints"

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, default=uuid.uuid4)
    tenant_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tenants.id"))
    url: Mapped[str] = mapped_column(String(2000))
    events: Mapped[list[str]]  #: what it hears of; empty means everything
    description: Mapped[str] = mapped_column(String(2000))
    secret: Mapped[bytes] = mapped_column(LargeBinary)  #: of HMAC-SHA256, wrapped
    previous_secret: Mapped[bytes | None] = mapped_column(LargeBinary)
    previous_secret_until: Mapped[datetime | None]
    private_key: Mapped[bytes] = mapped_column(LargeBinary)  #: of Ed25519, wrapped
    disabled_at: Mapped[datetime | None]
    disabled_reason: Mapped[str | None] = mapped_column(String(200))
    created_at: Mapped[datetime]

    status_callback: Mapped["StatusCallback | None"] = relationship(lazy="raise", viewonly=True)

    __table_args__ = (Index(None, "tenant_id", "created_at", "id"),)


class StatusCallback(Base):
    """Makes an endpoint one that an OpenDSR request has brought along: it hears of that request and of nothing else."""

    __tablename__ = "status_callbacks"

    endpoint_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("webhook_endpoints.id", ondelete="CASCADE"), primary_key=True
    )
    request_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("subject_requests.id"), index=True)


class WebhookMessage(Base):
    """What there is to tell, written in the transaction in which it happened."""

    __tablename__ = "webhook_messages"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)  #: the `webhook-id` of every attempt
    type: Mapped[str] = mapped_column(String(60))
    body: Mapped[str] = mapped_column(Text)  #: JSON, byte for byte as it is sent and signed
    created_at: Mapped[datetime] = mapped_column(index=True)


class WebhookDelivery(Base):
    """One message on its way to one endpoint."""

    __tablename__ = "webhook_deliveries"

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, default=uuid.uuid4)
    message_id: Mapped[str] = mapped_column(ForeignKey("webhook_messages.id", ondelete="CASCADE"), index=True)
    endpoint_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("webhook_endpoints.id", ondelete="CASCADE"))
    state: Mapped[DeliveryState]
    tries: Mapped[int] = mapped_column(default=0)  #: since it began, or began again
    next_at: Mapped[datetime | None]  #: nothing once it has ended
    lease_until: Mapped[datetime | None]  #: while a sender has it; which claim it is, too
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
    """One POST to an endpoint, and how it ended."""

    __tablename__ = "webhook_attempts"

    id: Mapped[int] = mapped_column(primary_key=True)
    delivery_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("webhook_deliveries.id", ondelete="CASCADE"), index=True)
    at: Mapped[datetime]
    status: Mapped[int | None]
    error: Mapped[str | None] = mapped_column(String(40))  #: a word, where there is no status
    milliseconds: Mapped[int]


class Tally(Base):
    """What was counted, see `service.registry.telemetry.counters`. A row is one event, or the sum of many."""

    __tablename__ = "tallies"

    id: Mapped[int] = mapped_column(primary_key=True)
    counted: Mapped[str] = mapped_column(String(30))
    label: Mapped[str] = mapped_column(String(30))
    bucket: Mapped[float | None]  #: upper bound of what was measured; nothing where there is none, or no measure
    count: Mapped[int] = mapped_column(BigInteger)
    total: Mapped[float]  #: of what was measured


class AuditEvent(Base):
    """Something that happened, written in its transaction, until it is chained: see `service.registry.audit`."""

    __tablename__ = "audit_events"

    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tenants.id"))
    at: Mapped[datetime]
    event: Mapped[str] = mapped_column(String(60))
    about: Mapped[uuid.UUID | None] = mapped_column(Uuid)  #: the request, version, key or webhook
    by: Mapped[str] = mapped_column(String(200))
    facts: Mapped[dict[str, Any]]
    seal: Mapped[bytes | None] = mapped_column(LargeBinary(32))  #: see `service.registry.audit.row_macs`

    __table_args__ = (Index(None, "tenant_id", "id"),)


class AuditEntry(Base):
    """One link of a tenant's hash chain. Nobody ever changes or removes one."""

    __tablename__ = "audit_entries"

    tenant_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    height: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)  #: from 1, without a gap
    previous: Mapped[bytes] = mapped_column(LargeBinary(32))  #: hash of the entry before
    entry: Mapped[str] = mapped_column(Text)  #: canonical JSON (RFC 8785), byte for byte as it was hashed
    sha256: Mapped[bytes] = mapped_column(LargeBinary(32))  #: of `previous` and `entry`
    about: Mapped[uuid.UUID | None] = mapped_column(Uuid)  #: as in the entry, to find it by

    __table_args__ = (Index(None, "tenant_id", "about", "height"),)


class AuditHead(Base):
    """The end of a tenant's chain. Whoever appends holds its lock, so that the chain never forks."""

    __tablename__ = "audit_heads"

    tenant_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    height: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[bytes] = mapped_column(LargeBinary(32))
    altered_at: Mapped[datetime | None]  #: when something was last chained that is not as it was written


class AuditCheckpoint(Base):
    """A head that was signed: from here on nobody can shorten or rewrite what it ends, and not be found out."""

    __tablename__ = "audit_checkpoints"

    tenant_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    height: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    sha256: Mapped[bytes] = mapped_column(LargeBinary(32))
    at: Mapped[datetime]
    key_id: Mapped[str] = mapped_column(String(64))
    signature: Mapped[bytes] = mapped_column(LargeBinary(64))


class AuditVerification(Base):
    """How far a tenant's chain has been verified, and what was found."""

    __tablename__ = "audit_verifications"

    tenant_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    height: Mapped[int] = mapped_column(BigInteger)  #: every entry up to here was whole when it was looked at
    sha256: Mapped[bytes] = mapped_column(LargeBinary(32))  #: of the entry at `height`
    at: Mapped[datetime]
    full_at: Mapped[datetime | None]  #: when all of it was last looked at again, from the beginning
    again_from: Mapped[int | None] = mapped_column(BigInteger)  #: how far that is, while it lasts
    broken_at: Mapped[datetime | None]  #: when a break was found
    broken_height: Mapped[int | None] = mapped_column(BigInteger)
    broken: Mapped[str | None] = mapped_column(String(200))  #: what is wrong there
