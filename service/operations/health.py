"""Routes for load balancers and orchestrators: liveness and readiness."""

import threading
import time
from collections.abc import Callable

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field
from sqlalchemy import text

from service.registry.storage import schema
from service.web import problem_types, problems
from service.web.dependencies import Resources, ResourcesDep

router = APIRouter(tags=["Health"])

_TIMEOUT = 1.0  # seconds, for all checks together


class Health(BaseModel):
    """State of the process, and of each thing that it needs."""

    status: str = "ok"
    checks: dict[str, str] = Field(default={}, description="`ok` or `failed`, for each thing that is needed.")


@router.get("/livez", summary="Is the process alive?")
def read_liveness() -> Health:
    """Looks at nothing but the process itself: one that does not answer has to be restarted."""
    return Health()


@router.get("/readyz", summary="Can it work?", response_model=Health, responses=problems.documented(503))
def read_readiness(request: Request, resources: ResourcesDep) -> Health | Response:
    """Looks at the database, its schema, the artifact folder, and the broker if there is one; within a second."""
    results = _check_all(_checks(resources))
    if set(results.values()) == {"ok"}:
        return Health(checks=results)
    failed = ", ".join(name for name, result in results.items() if result != "ok")
    return problems.answer(
        request.state.request_id,
        problem_types.TABLE[503],
        f"Not ready: {failed}.",
        headers={"Retry-After": "5"},
        extensions={"checks": results},
    )


def _checks(resources: Resources) -> dict[str, Callable[[], object]]:
    def check_database() -> None:
        with resources.database.read() as session:
            session.execute(text("SELECT 1"))

    def check_schema() -> None:
        if not schema.is_current(resources.database):
            raise RuntimeError

    checks: dict[str, Callable[[], object]] = {
        "database": check_database,
        "schema": check_schema,
        "artifacts": resources.artifacts.check_writable,
    }
    if resources.settings.broker_url is not None:
        checks["broker"] = resources.sweeper.check_broker
    return checks


def _check_all(checks: dict[str, Callable[[], object]]) -> dict[str, str]:
    """Run the checks concurrently. One that hangs counts as failed, and delays neither the answer nor the exit."""
    results = dict.fromkeys(checks, "failed")

    def run(name: str, check: Callable[[], object]) -> None:
        try:
            check()
        except Exception:  # noqa: BLE001  (whatever it is, the answer is that this does not work)
            return
        results[name] = "ok"

    threads = [threading.Thread(target=run, args=item, daemon=True) for item in checks.items()]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + _TIMEOUT
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return dict(results)
