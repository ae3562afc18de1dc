"""Every alert fires when it should and is silent when it should be, as Prometheus itself evaluates it."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
RULES = ROOT / "docker" / "prometheus" / "alerts.yml"
ALERTS = {rule["alert"]: rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]}

DAY = 86400
OVERDUE_AT_ANOTHER = 'structguard_overdue_requests{instance="b"}'
ANSWERED = "structguard_http_request_duration_seconds_count"
LOST = 'structguard_attempts_lost_total{cause="lease_expired"}'
GIVEN_UP = 'structguard_deliveries_ended_total{outcome="failed"}'
IN_A_ROW = 'structguard_gate_failures_in_a_row{tenant="acme",model="pets"}'
REVIEWED = 'structguard_jobs_ended_total{outcome="needs_review"}'
SERVICE = 'up{job="structguard-service"}'
WORKER = 'up{job="structguard-worker"}'
FREE, SIZE = 'structguard_disk_free_bytes{folder="data"}', 'structguard_disk_size_bytes{folder="data"}'
SUCCEEDED = 'structguard_background_last_success_timestamp_seconds{thread="sweeper"}'
WAITING, RUNNING = "structguard_queued_jobs", "structguard_running_jobs"

#: For each alert: series, one value a minute (`a+bxn` adds b n times), when one looks, and whether it fires.
CASES = {
    "StructGuardRequestOverdue": [
        ({"structguard_overdue_requests": "0x5 1x10"}, "8m", True),
        ({"structguard_overdue_requests": "0x5 1x10"}, "5m", False),
        ({'structguard_overdue_requests{instance="a"}': "0x9", OVERDUE_AT_ANOTHER: "2x9"}, "5m", True),
    ],
    "StructGuardRequestDueSoon": [
        ({"structguard_deadline_remaining_seconds": f"{2 * DAY}x20"}, "10m", True),
        ({"structguard_deadline_remaining_seconds": f"{4 * DAY}x20"}, "10m", False),
        ({"structguard_deadline_remaining_seconds": "-60x20"}, "10m", False),  # that is another alert
        ({}, "10m", False),  # nothing is open
    ],
    "StructGuardQueueStuck": [
        ({WAITING: "4x30", RUNNING: "0x30"}, "15m", True),
        ({WAITING: "4x30", RUNNING: "1x30"}, "15m", False),
        ({WAITING: "0x30", RUNNING: "0x30"}, "15m", False),
        ({WAITING: "4x30", RUNNING: "0x5 1 0x30"}, "12m", False),  # one began in between
    ],
    "StructGuardWorkersDie": [
        ({LOST: "7x5 8x30"}, "10m", True),
        ({LOST: "7x60"}, "10m", False),
        ({LOST: "7x5 8x60"}, "40m", False),  # it is a while ago
        ({"structguard_expired_leases": "1x10"}, "5m", True),
        ({'structguard_attempts_lost_total{cause="process_died"}': "0+1x30"}, "10m", False),  # their workers live
    ],
    "StructGuardWorkerDown": [
        ({WORKER: "0x20"}, "10m", True),
        ({}, "10m", True),
        ({WORKER: "1x20"}, "10m", False),
    ],
    "StructGuardGateFailuresInARow": [
        ({IN_A_ROW: "2x5 3x20", REVIEWED: "9x5 10x20"}, "10m", True),
        ({IN_A_ROW: "1x5 2x20", REVIEWED: "9x5 10x20"}, "10m", False),
        ({IN_A_ROW: "3x900", REVIEWED: "10x900"}, "14h", False),  # nobody has tried for long
    ],
    "StructGuardWebhooksFail": [
        ({GIVEN_UP: "0x5 1x20"}, "10m", True),
        ({GIVEN_UP: "1x20"}, "10m", False),
    ],
    "StructGuardWebhooksLate": [
        ({"structguard_oldest_pending_delivery_age_seconds": "3000+120x30"}, "20m", True),
        ({"structguard_oldest_pending_delivery_age_seconds": "3000x30"}, "20m", False),
    ],
    "StructGuardAuditLogBroken": [
        ({"structguard_audit_broken_logs": "0x3 1x9"}, "5m", True),
        ({"structguard_audit_broken_logs": "0x9"}, "5m", False),
    ],
    "StructGuardAuditNotVerified": [
        ({"structguard_audit_verification_age_seconds": "3500+60x30"}, "10m", True),
        ({"structguard_audit_verification_age_seconds": "60x30"}, "10m", False),
    ],
    "StructGuardServiceDown": [
        ({SERVICE: "0x20"}, "5m", True),
        ({}, "5m", True),
        ({SERVICE: "1x20"}, "5m", False),
    ],
    "StructGuardDatabaseDown": [
        ({"structguard_database_up": "1x3 0x9"}, "8m", True),
        ({"structguard_database_up": "1x12"}, "8m", False),
    ],
    "StructGuardErrors": [
        ({f'{ANSWERED}{{status="200"}}': "0+80x30", f'{ANSWERED}{{status="503"}}': "0+20x30"}, "20m", True),
        ({f'{ANSWERED}{{status="200"}}': "0+99x30", f'{ANSWERED}{{status="500"}}': "0+1x30"}, "20m", False),
        ({f'{ANSWERED}{{status="404"}}': "0+80x30"}, "20m", False),
    ],
    "StructGuardBackgroundStuck": [
        ({SUCCEEDED: "0+60x5 300x60"}, "40m", True),
        ({SUCCEEDED: "0+60x60"}, "40m", False),
        ({SUCCEEDED: "0+60x20", f'{SUCCEEDED[:-1]},instance="b"}}': "0x60"}, "30m", True),  # one of two
        ({SUCCEEDED: "0 60+60x60"}, "10m", False),  # it has just started
    ],
    "StructGuardDiskFullSoon": [
        ({FREE: "9x60", SIZE: "100x60"}, "30m", True),
        ({FREE: "90x60", SIZE: "100x60"}, "30m", False),
        ({FREE: "25000-20x60", SIZE: "100000x60"}, "40m", True),  # gone in 21 hours
        ({FREE: "90000-100x60", SIZE: "100000x60"}, "40m", False),  # in 15, but it may just be a burst
    ],
}  # fmt: skip


def promtool(*arguments: str | Path) -> None:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("no promtool")
    ran = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_promtool_takes_rules_and_configuration() -> None:
    promtool("check", "rules", RULES)
    promtool("check", "config", "--syntax-only", RULES.with_name("prometheus.yml"))


def test_every_alert_is_tried_both_ways() -> None:
    assert CASES.keys() == ALERTS.keys()
    for alert, cases in CASES.items():
        assert {fires for _, _, fires in cases} == {True, False}, alert


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_fires_when_it_should_and_only_then(alert: str, tmp_path: Path) -> None:
    tests = [
        {
            "name": f"{series} at {at}",
            "interval": "1m",
            "input_series": [{"series": name, "values": values} for name, values in series.items()],
            "promql_expr_test": [
                {
                    "expr": f'min(ALERTS{{alertname="{alert}", alertstate="firing"}})',
                    "eval_time": at,
                    "exp_samples": [{"labels": "{}", "value": 1}] if fires else [],
                }
            ],
        }
        for series, at, fires in CASES[alert]
    ]
    cases = tmp_path / "cases.yml"
    cases.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": tests}))
    promtool("test", "rules", cases)


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_says_what_to_do(alert: str) -> None:
    """Its link leads to a heading of a page that exists."""
    page, _, anchor = ALERTS[alert]["annotations"]["runbook_url"].partition("#")
    headings = re.findall(r"^#+ (.*)$", (ROOT / page).read_text(), re.MULTILINE)
    assert anchor in {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}
