"""Bodies of answers about jobs. Times are UTC, links are paths."""

import uuid
from datetime import datetime
from typing import Self

from pydantic import BaseModel, Field

from service.registry import tables
from service.registry.measurements.schemas import BeforeAndAfter
from service.registry.options import Options
from service.registry.states import Phase, State
from service.registry.training_data.reference_models import LeftOut
from service.web.fields import Answer


class Progress(Answer):
    """Where the job is."""

    phase: Phase | None
    step: int
    total: int = Field(validation_alias="total_steps", description="Steps of this phase; 0 if they are not known.")
    attempt: int


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
        references = []
        for reference in (job.provenance or {}).get("references", ()):
            model, _, version = reference["name"].rpartition("/")
            references.append(
                cls(
                    model=model,
                    version=int(version),
                    sha256=reference["digest"]["sha256"],
                    left_out=reference["left_out"],
                )
            )
        return references


class JobAnswer(Answer):
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
        return cls.from_row(
            row,
            model=row.model.name,
            progress=row,
            references=ReferenceAnswer.of_run(row),
            peak_memory_bytes=row.peak_memory,
            base_version=row.base_number,
            version=row.version.number if row.version else None,
            links=job_links(row, row.model),
        )


class StepAnswer(BaseModel, extra="allow"):
    """One point of a job's curves: `forget_accuracy`, `collapse` and the terms of the objective."""

    step: int

    @classmethod
    def of(cls, row: tables.StepMetric) -> Self:
        """From its row."""
        return cls.model_validate({**row.values, "step": row.step})


def job_links(job: tables.Job, model: tables.Model) -> dict[str, str]:
    """Paths of a job (loaded with its version), its steps, its model, and its version with the checkpoint."""
    here = f"/v1/jobs/{job.id}"
    links = {"self": here, "steps": f"{here}/steps", "model": f"/v1/models/{model.name}"}
    if job.version is not None:
        links["version"] = f"/v1/models/{model.name}/versions/{job.version.number}"
        links["checkpoint"] = f"{links['version']}/checkpoint"
    return links
