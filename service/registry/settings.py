"""Settings of both service and worker. Every field is an environment variable with the prefix `STRUCTGUARD_`."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr, StringConstraints
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

DEFAULT_POOL = "default"

Pool = Annotated[str, StringConstraints(pattern="^[a-z0-9][a-z0-9-]{0,39}$")]
"""Workers that are alike, by a name of the operator's choosing."""


def split_commas(value: object) -> object:
    """The items of a comma-separated variable; other values unchanged."""
    return [item.strip() for item in value.split(",") if item.strip()] if isinstance(value, str) else value


class RegistrySettings(BaseSettings):
    """Where the database, the broker and the keys are, and how jobs are leased and data retained."""

    model_config = SettingsConfigDict(env_prefix="STRUCTGUARD_", frozen=True, extra="ignore")

    data_dir: Path = Path(".structguard")
    """Folder of the artifact store, and of the SQLite file when no database is named."""

    database_url: SecretStr | None = None
    """SQLAlchemy URL, `postgresql+psycopg://…` or `sqlite:///…`. Default: `registry.sqlite` in the data folder."""

    broker_url: SecretStr | None = None
    """Redis URL of the Celery broker. Default: none, the worker polls the job table."""

    celery_queue: str = "structguard"
    """Name of the Celery queue of the pool `default`; another pool has its own, `structguard.NAME`."""

    pools: Annotated[frozenset[Pool], NoDecode, BeforeValidator(split_commas)] = Field(
        default=frozenset({DEFAULT_POOL}), min_length=1
    )
    """Pools of workers, with commas between. The service: those that models may name. A worker: those that it is of."""

    lease: timedelta = Field(default=timedelta(seconds=30), gt=timedelta(0))
    """How long a claimed job stays a worker's without a heartbeat. Heartbeats come at a third of it."""

    max_attempts: int = Field(default=3, ge=1)
    """How often a job is started before a lost worker makes it fail."""

    batch_images: int = Field(default=256, ge=0)
    """How many images a run takes at most from requests that wait for one model. Zero: each request by itself."""

    batch_window: timedelta = Field(default=timedelta(0), ge=timedelta(0))
    """How long a request waits for others to share its run. Zero: only until a worker is free."""

    batch_urgency: timedelta = Field(default=timedelta(days=1), ge=timedelta(0))
    """Requests that are due within this do not wait for others."""

    master_key_file: Path | None = None
    """File with 64 hexadecimal digits: the key that wraps those of images to forget, of manifests and of webhooks, the
    same for all processes. Default: one is made, and kept in the data folder."""

    signing_key_file: Path | None = None
    """PEM file with the Ed25519 key that signs evidence: certificates, and heads of the audit log, the same for all
    processes. Default: one is made, and kept in the data folder."""

    failed_retention: timedelta = Field(default=timedelta(days=30), ge=timedelta(0))
    """How long a failed request keeps its images, and may be retried."""

    evidence_retention: timedelta = Field(default=timedelta(0), ge=timedelta(0))
    """How long a request that ended with a version keeps its images, so that what was measured on them can be computed
    again. Zero: until the next sweep."""

    record_retention: timedelta = Field(default=timedelta(days=731), ge=timedelta(0))
    """How long the record of a request is kept once it has ended: 24 months, leap years included. Zero: for ever."""

    log_format: Literal["text", "json"] = "text"
    """Lines of the log: `text`, or `json` for whatever collects them."""

    sweep_interval: timedelta = Field(default=timedelta(seconds=5), gt=timedelta(0))
    """How often expired leases are returned, and an idle Celery worker looks for a job by itself. A job that waits is
    announced again after each lease."""

    def resolved_database_url(self) -> str:
        """The database URL, with the embedded default filled in."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{(self.data_dir / 'registry.sqlite').resolve()}"
