"""What operators keep open works on a product that runs: dashboard, alerts, traces and logs."""

import json
import math
import re
import time
from typing import Any

import httpx

from tests.operations.conftest import ROOT, TRACES, Watched

DASHBOARD = json.loads((ROOT / "docker" / "grafana" / "dashboards" / "structguard.json").read_text())
PANELS = {
    f"{panel['id']} {panel['title']}, {target['refId']}": target["expr"]
    for panel in DASHBOARD["panels"]
    for target in panel.get("targets", [])
}
VARIABLES = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}


def expanded(expression: str) -> str:
    """As Grafana does with everything selected."""
    values = {"__rate_interval": "5m", "tenant": ".*", "model": ".*"}
    return re.sub(r"\$\{?(\w+)\}?", lambda found: values[found[1]], expression)


def numbers(result: list[dict[str, Any]]) -> list[float]:
    return [value for series in result if not math.isnan(value := float(series["value"][1]))]


def test_every_panel_shows_something(watched: Watched) -> None:
    """Each query has a number to show, sooner or later: a rate takes two looks."""
    assert len(PANELS) > 40
    empty = dict(PANELS)
    deadline = time.monotonic() + 90
    while empty and time.monotonic() < deadline:
        empty = {
            title: expression
            for title, expression in empty.items()
            if not numbers(watched.prometheus.query(expanded(expression)))
        }
        if empty:
            time.sleep(1)
    assert not empty


def test_the_variables_have_values(watched: Watched) -> None:
    for name, value in (("tenant", {"acme"}), ("model", {"pets", "careful"})):
        series, _, label = VARIABLES[name]["definition"].removeprefix("label_values(").rstrip(")").rpartition(", ")
        found = watched.prometheus.query(expanded(series))
        assert {one["metric"][label] for one in found} == value


def test_the_numbers_are_those_of_the_product(watched: Watched) -> None:
    """Both requests in one run, which a worker on one of two GPUs has done."""
    ask = watched.prometheus.query
    assert {request["state"] for request in watched.requests} == {"completed"}
    (ended,) = numbers(ask('structguard_requests_ended_total{outcome="completed"}'))
    (runs,) = numbers(ask('structguard_jobs_ended_total{outcome="completed"}'))
    assert (ended, runs) == (2, 1)
    assert numbers(ask('structguard_requests{state="awaiting_approval"}')) == [1]
    assert numbers(ask('structguard_alias_version{model="pets", alias="production"}')) == [2]
    with watched.stack.client() as client:
        spent = client.get(watched.requests[0]["links"]["job"]).json()["seconds"]
    for phase, seconds in spent.items():
        for name in ("structguard_phase_duration_seconds_sum", "structguard_worker_phase_seconds_total"):
            assert numbers(ask(f'{name}{{phase="{phase}"}}')) == [seconds]
    (peak,) = numbers(ask("structguard_worker_job_peak_memory_bytes"))
    assert peak > 100e6  # it has loaded torch
    assert {one["metric"]["gpu"] for one in ask("structguard_gpu_memory_used_bytes")} == {"0", "1"}
    assert {one["metric"]["gpu"] for one in ask("structguard_gpu_utilization_ratio")} == {"0"}  # the other cannot tell


def test_the_alerts_are_loaded_and_silent(watched: Watched) -> None:
    """On a product that is well, not one of them so much as waits to fire."""
    groups = httpx.get(f"{watched.prometheus.url}/api/v1/rules").json()["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) == (ROOT / "docker" / "prometheus" / "alerts.yml").read_text().count("- alert:")
    assert {rule["health"] for rule in rules} == {"ok"}
    disk = "StructGuardDiskFullSoon"  # of the machine that tests run on nobody knows
    assert [rule["name"] for rule in rules if rule["state"] == "firing" and rule["name"] != disk] == []


def test_a_deletion_request_is_one_trace_from_the_caller_to_the_new_version(watched: Watched) -> None:
    """The caller's trace goes on through service, worker and its child; the run's other request is linked."""
    first, second = TRACES
    phases = {"load", "surrogates", "unlearn", "evaluate", "publish"}
    post = "POST /v1/deletion-requests"
    watched.stack.wait_for(lambda: {post, "job", *phases} <= watched.receiver.of(first).keys(), seconds=60)
    spans = watched.receiver.of(first)
    assert (spans[post].service, spans[post].parent) == ("structguard-service", "b7ad6b7169203331")
    assert (spans["job"].service, spans["job"].parent) == ("structguard-worker", spans[post].span)
    assert spans["job"].links == (second,)
    assert {spans[phase].parent for phase in phases} == {spans["job"].span}
    assert watched.receiver.of(second).keys() == {post}
    assert spans[post].attributes.keys() == {
        *("http.request.method", "http.route", "http.response.status_code", "structguard.request.id")
    }
    assert spans["job"].attributes == {
        "structguard.job.id": watched.job,
        "structguard.job.attempt": 1,
        "structguard.job.requests": 2,
    }


def test_traces_hold_routes_and_nothing_that_callers_brought(watched: Watched) -> None:
    names = {span.name for span in watched.receiver.spans}
    assert "PUT /v1/models/{name}/aliases/{alias}" in names
    polled = [span.trace for span in watched.receiver.spans if span.name == "GET /v1/deletion-requests/{request_id}"]
    assert len(set(polled)) == len(polled) > 1  # one connection, but a trace each
    assert not {name for name in names if name.endswith(("/metrics", "/readyz"))}
    assert {(span.events, span.state) for span in watched.receiver.spans} == {(0, "")}
    sent = b"".join(watched.receiver.raw)
    assert not [word for word in (b"jane", b"pets", b"127.0.0.1", b"httpx") if word in sent]


def test_every_line_of_the_log_is_json_and_says_what_it_is_about(watched: Watched) -> None:
    """The access log has routes, and the lines of worker and child have the job, each with the trace it is in."""
    lines = [json.loads(line) for line in watched.stack.logs().splitlines() if line.startswith("{")]
    assert all({"time", "level", "logger", "message"} <= line.keys() for line in lines)
    posted = [line for line in lines if line.get("route") == "/v1/deletion-requests" and line["status"] == 202]
    assert [line["trace"] for line in posted][:2] == list(TRACES)
    assert all({"request", "tenant", "method", "milliseconds"} <= line.keys() for line in posted)
    job = watched.job
    (begun,) = (line for line in lines if line["logger"] == "worker.supervision.supervisor")
    assert (begun["job"], begun["attempt"], begun["trace"]) == (job, 1, TRACES[0])
