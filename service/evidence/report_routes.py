"""Route of the figures that a business publishes once a year (11 CCR § 7102)."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query

from service.evidence.schemas import YearlyFigures
from service.registry.operations import annual_report
from service.registry.storage.database import clock
from service.web.dependencies import Auditor, ReadSession
from service.web.problems import documented

router = APIRouter(prefix="/v1/reports", tags=["Evidence"])

Regulation = Annotated[
    str, Path(pattern="^[a-z0-9_-]{1,40}$", description="`ccpa`, `gdpr`, or another name that requests came under.")
]
Year = Annotated[
    int | None, Query(ge=2000, le=9998, description="Of receipt, by UTC. Default: the year before this one.")
]


@router.get("/{regulation}", summary="Read a year's figures", responses=documented(404, 422))
def read_yearly_figures(
    regulation: Regulation, caller: Auditor, session: ReadSession, year: Year = None
) -> YearlyFigures:
    """The figures that 11 CCR § 7102 asks for, and the same for other regulations, of the tenant's requests."""
    chosen = year or datetime.now(UTC).year - 1
    figures = annual_report.yearly(session, caller.tenant_id, regulation, chosen, clock(session))
    return YearlyFigures.from_row(figures, regulation=regulation, year=chosen)
