import socket

from fastapi.testclient import TestClient
from pydantic import SecretStr

from service.app import create_app
from tests.service.given import key, problem


def test_a_service_that_has_everything_is_ready(client):
    """Alive, and every check passed."""
    assert client.get("/livez").json() == {"status": "ok", "checks": {}}
    assert client.get("/readyz").json() == {
        "status": "ok",
        "checks": {"database": "ok", "schema": "ok", "artifacts": "ok"},
    }


def test_a_database_without_tables_is_not_ready(tmp_path, settings):
    """Reachable, but not migrated; and it says which check failed."""
    url = f"sqlite:///{tmp_path}/empty.sqlite"
    with TestClient(create_app(settings.model_copy(update={"database_url": SecretStr(url)}))) as http:
        answer = http.get("/readyz")
        body = problem(answer, 503, "unavailable")
        assert body["checks"] == {"database": "ok", "schema": "failed", "artifacts": "ok"}
        assert answer.headers["retry-after"] == "5"
        assert http.get("/livez").status_code == 200


def test_a_folder_that_is_gone_is_not_ready(client, settings):
    """Somebody unmounted it."""
    staging = settings.data_dir / "staging"
    staging.rmdir()
    try:
        assert problem(client.get("/readyz"), 503, "unavailable")["checks"]["artifacts"] == "failed"
    finally:
        staging.mkdir()


def test_a_broker_that_is_away_is_not_ready_but_works(settings, database):
    """The message is only a hint, so requests are accepted all the same."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        url = SecretStr(f"redis://127.0.0.1:{reserved.getsockname()[1]}/0")
        with TestClient(create_app(settings.model_copy(update={"broker_url": url}))) as http:
            body = problem(http.get("/readyz"), 503, "unavailable")
            assert body["checks"] == {"database": "ok", "schema": "ok", "artifacts": "ok", "broker": "failed"}
            headers = {"Authorization": f"Bearer {key(database)}"}
            assert http.post("/v1/models", json={"name": "pets"}, headers=headers).status_code == 201


def test_a_check_that_hangs_counts_as_failed_after_a_second(settings):
    """A host that swallows packets must not make the probe hang too."""
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, and never says anything
        url = f"postgresql+psycopg://postgres@127.0.0.1:{silent.getsockname()[1]}/x?connect_timeout=3"
        app = create_app(settings.model_copy(update={"database_url": SecretStr(url)}))
        with TestClient(app) as http:
            answer = http.get("/readyz")
            body = problem(answer, 503, "unavailable")
            assert (body["checks"]["database"], body["checks"]["artifacts"]) == ("failed", "ok")
            assert answer.elapsed.total_seconds() < 3
