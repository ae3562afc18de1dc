"""How long the dashboard's pages take when PostgreSQL holds 100,000 requests: `python -m benchmarks.dashboard`.

The time is that of the whole answer in the process that serves it: session, statements, template. Of the requests
10,000 wait, a tenth of them overdue; the models have some 900 versions each, every version its measurements; the
request that is looked at has a curve of 400 points.
"""

import argparse
import re
import statistics
import tempfile
import time
import uuid
from pathlib import Path

from fastapi.testclient import TestClient
from sqlalchemy import text

from benchmarks.many_rows import fill
from benchmarks.post import new_postgresql
from service.app import create_app
from service.registry.access import api_keys
from service.registry.access.scopes import Scope
from service.registry.storage.database import Database
from service.settings import ServiceSettings

_METRICS = """'{"forget_accuracy": 100.0, "robust_forget_accuracy": 84.5, "test_accuracy": 91.25, "collapse": 0.021,
    "membership": {"unseen": {"advantage": 0.31}}, "relearning": {"steps": 12}}'"""

# Columns and rows that `many_rows` leaves out, because the queries for work do not read them.
_FURTHER_ROWS = (
    "UPDATE deletion_requests SET ended_at = received_at + interval '1 hour' WHERE state IN ('completed', 'failed')",
    "UPDATE deletion_requests SET due_at = now() - interval '1 day' WHERE state = 'queued' AND random() < 0.1",
    f"""UPDATE jobs SET base_number = 1,
            metrics = json_build_object('before', {_METRICS}::json, 'after', {_METRICS}::json)
        WHERE state = 'completed'""",
    f"""INSERT INTO versions (id, model_id, number, job_id, architecture, classes, preprocessing, attributes,
            checkpoint, sha256, size, method, config, code_version, gate, metrics, tags, created_at)
        SELECT gen_random_uuid(), model_id,
            (SELECT count(*) FROM versions AS existing WHERE existing.model_id = jobs.model_id)
                + row_number() OVER (PARTITION BY model_id ORDER BY created_at), id,
            '{{"name": "cifar_resnet20"}}', (SELECT json_agg('class ' || n) FROM generate_series(1, 100) AS n), '{{}}',
            '{{}}', 'checkpoints/x', repeat('0', 64), 1, 'structguard', '{{}}', '0', 'passed', {_METRICS}, '{{}}',
            created_at
        FROM jobs WHERE state = 'completed'""",
    """UPDATE versions SET parent_id = parent.id FROM versions AS parent
        WHERE parent.model_id = versions.model_id AND parent.number = versions.number - 1""",
    """INSERT INTO step_metrics (job_id, fence, step, "values")
        SELECT job.id, 1, n, json_build_object('forget_accuracy', n / 4.0, 'collapse', 0.1 / (n + 1),
            'deletion', 20.0 / (n + 1), 'retention', 9.0 / (n + 1), 'alignment', 0.1,
            'importance', 0.4, 'elastic_net', 0.001)
        FROM (SELECT id FROM jobs WHERE state = 'completed' ORDER BY created_at DESC LIMIT 1) AS job,
            generate_series(1, 400) AS n""",
    "VACUUM ANALYZE",
)


def pages(http: TestClient, database: Database) -> dict[str, str]:
    """The paths of the pages that are timed, by name."""
    with database.read() as session:
        newest = session.scalars(
            text("SELECT id FROM deletion_requests WHERE state = 'completed' ORDER BY received_at DESC LIMIT 1")
        ).one()
    page = "/dashboard/requests"
    for _ in range(20):
        page = re.findall(r'rel="next" href="([^"]+)"', http.get(page).text)[0].replace("&amp;", "&")
    return {
        "overview": "/dashboard/",
        "requests, newest": "/dashboard/requests",
        "requests, twentieth page": page,
        "requests of a model": "/dashboard/requests?model=model-0",
        "failed requests of a model": "/dashboard/requests?model=model-0&state=failed",
        "withdrawn requests": "/dashboard/requests?state=cancelled",
        "overdue requests": "/dashboard/requests?overdue=true",
        "one request with its curves": f"/dashboard/requests/{uuid.UUID(str(newest))}",
        "models": "/dashboard/models",
        "a model of 900 versions": "/dashboard/models/model-0",
        "webhooks": "/dashboard/webhooks",
    }


def milliseconds(http: TestClient, page: str, times: int) -> list[float]:
    """Milliseconds of each response, sorted, after one that loads templates and prepares statements."""
    durations = []
    for _ in range(times + 1):
        began = time.perf_counter()
        response = http.get(page)
        durations.append(1000 * (time.perf_counter() - began))
        assert response.status_code == 200, (page, response.status_code)
    return sorted(durations[1:])


def sign_in(http: TestClient, key: str) -> None:
    """Sign in with an API key through the form."""
    token = re.findall(r'name="csrf" value="(\w+)"', http.get("/dashboard/sign-in").text)[0]
    assert http.post("/dashboard/sign-in", data={"csrf": token, "key": key}).url.path == "/dashboard/"


def main() -> None:
    """Print one table, as Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dashboard", description=__doc__)
    parser.add_argument("--postgresql", default="postgresql://postgres@127.0.0.1:5432/postgres", help="a server's URL")
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--waiting", type=int, default=10_000, help="of the requests")
    parser.add_argument("--times", type=int, default=20, help="that each page is asked for")
    arguments = parser.parse_args()
    with new_postgresql(arguments.postgresql) as url, tempfile.TemporaryDirectory() as folder:
        database = Database(url)
        model = fill(database, arguments.requests, arguments.waiting)
        with database.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            for statement in _FURTHER_ROWS:
                connection.execute(text(statement))
        with database.write() as session:
            _, key = api_keys.create_key(session, model.tenant_id, name="b", scopes=[Scope.ADMIN], expires_at=None)
        settings = ServiceSettings(data_dir=Path(folder), database_url=url)
        with TestClient(create_app(settings)) as http:
            sign_in(http, key)
            print(f"| page, {arguments.requests:,} requests | median ms of {arguments.times} | slowest | KiB |")
            print("|---|---|---|---|")
            for name, address in pages(http, database).items():
                durations = milliseconds(http, address, arguments.times)
                size = len(http.get(address).content) / 1024
                print(f"| {name} | {statistics.median(durations):.0f} | {durations[-1]:.0f} | {size:.0f} |", flush=True)
        database.close()


if __name__ == "__main__":
    main()
