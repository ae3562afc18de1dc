"""`GET /metrics`: who may see it, and that it says what it says in Prometheus's words."""

import shutil
import subprocess
import time
from datetime import timedelta

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from service.app import create_app
from service.operations import collector
from service.registry.operations import installation_status
from tests.service.given import Client, wait_for
from tests.service.given_jobs import Jobs
from tests.service.registry.given_reasons import A_TEST_FELL


@pytest.fixture
def scraped(client, settings):
    """Serve the same database to callers from an address, with changed settings; what gets `/metrics`."""

    def serve(address="127.0.0.1", **changed):
        app = create_app(settings.model_copy(update=changed))
        with TestClient(app, client=(address, 1), raise_server_exceptions=False) as http:
            http.headers["Authorization"] = client.http.headers["Authorization"]
            yield Client(http)

    open_ = []

    def begin(*given, **changed):
        serving = serve(*given, **changed)
        open_.append(serving)
        return next(serving)

    yield begin
    for serving in open_:
        next(serving, None)


def samples(text):
    """Each sample's value by its name and labels."""
    values = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            values[sample.name, *sorted(sample.labels.items())] = sample.value
    return values


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_without_a_token_this_machine_may_look(scraped, address):
    assert scraped(address).get("/metrics").status_code == 200


@pytest.mark.parametrize("address", ["10.0.0.1", "testclient", "2001:db8::1"])
def test_without_a_token_nobody_else_may(scraped, address):
    """Not with a key that may do everything, either: keys are tenants', and these numbers are of all of them."""
    answer = scraped(address).get("/metrics")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Bearer realm="structguard metrics"'
    assert answer.json()["type"] == "/problems/unauthenticated"


@pytest.mark.parametrize("header", ["Forwarded", "X-Forwarded-For", "X-Real-IP", "Via"])
def test_what_a_proxy_on_this_machine_passes_on_is_not_from_this_machine(scraped, header):
    assert scraped().get("/metrics", headers={header: "127.0.0.1"}).status_code == 401


def test_with_a_token_whoever_has_it_may_and_nobody_else(scraped):
    http = scraped("10.0.0.1", metrics_token=SecretStr("sesame"))
    assert http.get("/metrics", headers={"Authorization": "Bearer sesame"}).status_code == 200
    for wrong in ("Bearer sesam", "Bearer ", "sesame", "Bearer é".encode()):
        assert http.get("/metrics", headers={"Authorization": wrong}).status_code == 401
    assert scraped(metrics_token=SecretStr("sesame")).get("/metrics").status_code == 401


def test_it_is_text_or_openmetrics(scraped):
    http = scraped()
    assert http.get("/metrics").headers["content-type"].startswith("text/plain; version=0.0.4")
    accepted = {"Accept": "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"}
    answer = http.get("/metrics", headers=accepted)
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert answer.text.endswith("# EOF\n")


def test_it_says_how_the_installation_stands(scraped, database):
    http = scraped()
    http.model_with_version()
    http.put("/v1/models/pets/aliases/production", json={"version": 1, "follows_gate": True})
    for _ in range(3):
        http.deletion_request()
    by_hand = Jobs(database)
    by_hand.publish(by_hand.claim(), measured={"after": {"forget_accuracy": 100.0, "collapse": 0.01}})
    by_hand.publish(by_hand.claim(), A_TEST_FELL)
    values = samples(http.get("/metrics").text)
    assert values["structguard_database_up",] == 1
    assert values["structguard_requests", ("state", "queued")] == 1
    assert values["structguard_queued_jobs",] == 1
    assert values["structguard_jobs_ended_total", ("outcome", "completed")] == 1
    assert values["structguard_jobs_ended_total", ("outcome", "needs_review")] == 1
    assert values["structguard_jobs_ended_total", ("outcome", "failed")] == 0
    production = [("alias", "production"), ("model", "pets"), ("tenant", "acme")]
    assert values["structguard_alias_version", *production] == 2
    assert values["structguard_alias_forget_accuracy_ratio", *production] == 1
    assert values["structguard_alias_structural_collapse", *production] == 0.01
    assert ("structguard_alias_test_accuracy_ratio", *production) not in values  # nobody measured it
    assert values["structguard_gate_failures_in_a_row", ("model", "pets"), ("tenant", "acme")] == 1
    assert values["structguard_phase_duration_seconds_sum", ("phase", "load")] == 1.0
    below, above = (("le", "0.25"), ("phase", "load")), (("le", "0.5"), ("phase", "load"))
    assert values["structguard_phase_duration_seconds_bucket", *below] == 0
    assert values["structguard_phase_duration_seconds_bucket", *above] == 2
    assert 29 * 86400 < values["structguard_deadline_remaining_seconds",] <= 31 * 86400
    assert values["structguard_disk_free_bytes", ("folder", "data")] > 0


def test_requests_are_measured_by_route_and_never_by_path(scraped):
    http = scraped()
    http.get("/v1/models/jane-doe")
    http.get("/jane-doe")
    http.http.request("JANE-DOE", "/v1/models")
    text = http.get("/metrics").text
    assert "jane-doe" not in text.lower()
    values = samples(text)
    name = "structguard_http_request_duration_seconds_count"
    assert values[name, ("method", "GET"), ("route", "/v1/models/{name}"), ("status", "404")] == 1
    assert values[name, ("method", "GET"), ("route", "-"), ("status", "404")] == 1
    assert values[name, ("method", "-"), ("route", "/v1/models"), ("status", "405")] == 1


def test_every_background_thread_tells_when_it_last_succeeded(scraped):
    """So does none that does nothing else: an alert that waits for it would never come."""
    http, began = scraped(), time.time()
    name = "structguard_background_last_success_timestamp_seconds"

    def succeeded():
        return {labels[0][1]: at for (this, *labels), at in samples(http.get("/metrics").text).items() if this == name}

    wait_for(lambda: all(at >= began - 60 for at in succeeded().values()))
    assert succeeded().keys() == {"sweeper", "auditor", "webhook_sender", "idempotency_leases"}


def test_a_database_that_is_away_is_said_and_hides_nothing_else(scraped, tmp_path):
    http = scraped(database_url=SecretStr(f"sqlite:///{tmp_path}/nowhere/x.sqlite"))
    http.get("/livez")
    values = samples(http.get("/metrics").text)
    assert values["structguard_database_up",] == 0
    assert ("structguard_queued_jobs",) not in values
    livez = [("method", "GET"), ("route", "/livez"), ("status", "200")]
    assert values["structguard_http_request_duration_seconds_count", *livez] == 1


@pytest.mark.parametrize(("max_age", "reads"), [(3600.0, 1), (0.0, 5)])
def test_however_many_ask_the_database_is_read_once_in_a_while(database, settings, monkeypatch, max_age, reads):
    read, times = installation_status.read, []
    monkeypatch.setattr(installation_status, "read", lambda *given: times.append(1) or read(*given))
    monkeypatch.setattr(collector, "_MAX_AGE", max_age)
    asked = collector.InstallationCollector(database, timedelta(seconds=30), settings.data_dir)
    for _ in range(5):
        list(asked.collect())
    assert len(times) == reads


def test_promtool_has_nothing_to_object_to(scraped):
    """Names, units, help texts: `promtool check metrics` is the linter of the conventions."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool")
    http = scraped()
    http.model_with_version()
    http.deletion_request()
    text = http.get("/metrics").text
    checked = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")
