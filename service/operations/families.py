"""An overview of the installation as Prometheus metrics: base units, `_total` for counters, few labels."""

from collections.abc import Iterable, Iterator
from itertools import accumulate
from operator import attrgetter

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from service.registry.measurements.definitions import Detail, shown
from service.registry.operations.installation_status import MOST_ALIASES, InstallationStatus
from service.registry.states import ENDED, DeliveryState, Phase, State
from service.registry.telemetry.counters import BUCKETS, Count, CounterName, Loss

#: Name, help text, and the attribute of `InstallationStatus` that has the value.
_GAUGES = (
    ("oldest_waiting_request_age_seconds", "Of what waits for a worker or an approval; 0 = nothing.", "oldest_waiting"),
    ("overdue_requests", "Requests that are open, or failed and can be retried, after their deadline.", "overdue"),
    ("queued_jobs", "Runs that wait for a worker.", "queued_jobs"),
    ("running_jobs", "Runs that a worker has.", "running_jobs"),
    ("expired_leases", "Runs whose worker was not heard of in time.", "expired_leases"),
    (
        "oldest_heartbeat_age_seconds",
        "Since a worker with a run was last heard of; 0 = none runs.",
        "oldest_heartbeat",
    ),
    ("oldest_pending_delivery_age_seconds", "Of messages that are to be sent; 0 = there are none.", "oldest_delivery"),
    ("audit_entries", "Of the audit logs of all tenants.", "audit.height"),
    ("audit_verified_entries", "Those that were verified.", "audit.verified_height"),
    ("audit_broken_logs", "Tenants whose audit log is not as it was written.", "audit.broken"),
    ("audit_verification_age_seconds", "Since the log was looked at whose turn is longest ago.", "oldest_verification"),
    ("aliases", f"Aliases of all models; the first {MOST_ALIASES} have their measurements here.", "aliases"),
)

#: Counter, label, values of the label, and help text.
_COUNTERS = (
    (CounterName.REQUESTS_ENDED, "outcome", sorted(ENDED), "Deletion requests that ended; after a retry again."),
    (CounterName.JOBS_ENDED, "outcome", sorted(ENDED), "Runs that ended, or were ended before they began."),
    (CounterName.ATTEMPTS_LOST, "cause", sorted(Loss), "Runs that ended without an end."),
    (
        CounterName.DELIVERIES_ENDED,
        "outcome",
        [DeliveryState.SUCCEEDED, DeliveryState.FAILED],
        "Messages to webhooks that arrived, or were given up.",
    ),
)


def families(overview: InstallationStatus) -> Iterator[Metric]:
    """All metrics that are read from the database; every process of the service has the same ones."""
    for name, text, field in _GAUGES:
        yield GaugeMetricFamily(f"structguard_{name}", text, value=attrgetter(field)(overview))
    if overview.time_left is not None:
        text = "Until the next request is due, of those that count as overdue then; negative once it is."
        yield GaugeMetricFamily("structguard_deadline_remaining_seconds", text, value=overview.time_left)
    yield _by_state("requests", "Deletion requests that are open, or failed and can be retried.", overview.requests)
    yield _by_state("webhook_deliveries", "Messages that have not arrived, or not yet.", overview.deliveries)
    for counted, label, values, text in _COUNTERS:
        yield _counter(overview, counted, label, values, text)
    yield _phases(overview)
    yield from _models(overview)


def _by_state(name: str, text: str, counts: dict[State, int] | dict[DeliveryState, int]) -> Metric:
    family = GaugeMetricFamily(f"structguard_{name}", text, labels=["state"])
    for state, count in counts.items():
        family.add_metric([state], count)
    return family


def _counter(
    overview: InstallationStatus, counted: CounterName, label: str, values: Iterable[str], text: str
) -> Metric:
    """A counter with 0 for values that have not occurred: for Prometheus, a series that begins with 1 did not grow."""
    family = CounterMetricFamily(f"structguard_{counted}", text, labels=[label])
    for value in values:
        family.add_metric([value], overview.counts.get((counted, value), Count()).count)
    return family


def _phases(overview: InstallationStatus) -> Metric:
    text = "How long the phases of runs took that made a version."
    family = HistogramMetricFamily("structguard_phase_duration_seconds", text, labels=["phase"])
    for phase in Phase:
        durations = overview.counts.get((CounterName.PHASE_SECONDS, phase), Count())
        cumulative = accumulate(durations.buckets.get(bound, 0) for bound in BUCKETS)
        buckets = [(str(bound), float(count)) for bound, count in zip(BUCKETS, cumulative, strict=True)]
        family.add_metric([phase], [*buckets, ("+Inf", float(durations.count))], durations.total)
    return family


def _models(overview: InstallationStatus) -> Iterator[Metric]:
    labels = ("tenant", "model", "alias")
    number = GaugeMetricFamily("structguard_alias_version", "Number of the version it points to.", labels=labels)
    for alias in overview.measured:
        number.add_metric([alias.tenant, alias.model, alias.alias], alias.number)
    yield number
    for measurement in shown(Detail.HEADLINE):
        is_percent = measurement.unit == "%"  # of which Prometheus's base unit is a ratio
        name = f"{measurement.path}_ratio" if is_percent else measurement.label.replace(" ", "_")
        meaning = f"share of the {measurement.phrase}" if is_percent else measurement.phrase
        text = f"{measurement.label}: {meaning}; of the alias's version."
        family = GaugeMetricFamily(f"structguard_alias_{name}", text, labels=labels)
        for alias in overview.measured:
            value = measurement.of(alias.measurements)
            if value is not None:
                family.add_metric([alias.tenant, alias.model, alias.alias], value / 100 if is_percent else value)
        yield family
    text = "Runs of a model since the last that passed the quality gate, where there are any."
    in_a_row = GaugeMetricFamily("structguard_gate_failures_in_a_row", text, labels=("tenant", "model"))
    for model in overview.objected:
        in_a_row.add_metric([model.tenant, model.model], model.runs)
    yield in_a_row
