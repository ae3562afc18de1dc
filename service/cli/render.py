"""Answers of the service as tables and lines for a person. Pure: documents in, renderables out."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from rich.table import Table

from service.registry.measurements.definitions import Detail, Measurement, shown


def _advantage(inference: Mapping[str, Any]) -> str:
    """The advantage, and the number of control images that it rests on: with few of them it means little."""
    value = inference["advantage"]
    return "not measured" if value is None else f"{value:.4f} ({inference['controls']})"


def _steps(relearning: Mapping[str, Any]) -> str:
    return f"over {relearning['max_steps']}" if relearning["steps"] is None else str(relearning["steps"])


#: Measurements that are shown with a second figure of their group, by the last part of their path.
_WITH_CONTEXT = {"advantage": _advantage, "steps": _steps}


def _cell(measurement: Measurement, measured: Mapping[str, Any]) -> str:
    formatter, group = _WITH_CONTEXT.get(measurement.path.rpartition(".")[2]), measurement.group(measured)
    if formatter is not None and group:
        return formatter(group)
    value = measurement.of(measured)
    if value is None:
        return "not measured"
    if measurement.unit == "images":
        return str(value)
    return f"{value:.2f} %" if measurement.unit == "%" else f"{value:.4f}"


def metrics(measured: dict[str, Any]) -> Table:
    """All measurements before and after unlearning; those that were not taken read `not measured`."""
    table = Table("", "before", "after", box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for measurement in shown(Detail.TERMINAL):
        values = (_cell(measurement, measured.get(side, {})) for side in ("before", "after"))
        table.add_row(f"{measurement.label}, {measurement.phrase}", *values)
    return table


def _references(references: list[dict[str, Any]]) -> str | None:
    """How many reference models membership inference used, such as `7 of 8`; None where there were none."""
    used = sum(reference["left_out"] is None for reference in references)
    return f"{used} of {len(references)}" if references else None


def facts(pairs: dict[str, Any]) -> Table:
    """Names and values, one pair a line; those without a value are left out."""
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value in pairs.items():
        if value is not None:
            table.add_row(name, str(value))
    return table


def request(document: dict[str, Any]) -> Table:
    """One deletion request."""
    return facts(
        {
            "request": document["id"],
            "model": document["model"],
            "state": document["state"],
            "reason": document["reason"],
            "waiting on": document["waiting_on"],
            "images": document["sample_count"],
            "received": moment(document["received_at"]),
            "due": moment(document["due_at"]),
            "ended": moment(document["ended_at"]),
            "new version": document["version"],
            "reference models": _references(document.get("references", [])),
        }
    )


def requests(documents: list[dict[str, Any]]) -> Table:
    """Deletion requests, one a line."""
    table = Table("request", "model", "state", "images", "received", "due", "version", box=None, pad_edge=False)
    for item in documents:
        times = (moment(item["received_at"]), moment(item["due_at"]))
        version = "" if item["version"] is None else str(item["version"])
        table.add_row(item["id"], item["model"], item["state"], str(item["sample_count"]), *times, version)
    return table


def keys(documents: list[dict[str, Any]]) -> Table:
    """API keys, one a line."""
    table = Table("key", "name", "begins", "ends", "scopes", "created", "expires", "revoked", box=None, pad_edge=False)
    for item in documents:
        times = (moment(item[column]) or "" for column in ("created_at", "expires_at", "revoked_at"))
        table.add_row(item["id"], item["name"], item["prefix"], item["last_four"], " ".join(item["scopes"]), *times)
    return table


def moment(text: str | None) -> str | None:
    """An ISO 8601 time in the zone of this machine, as `YYYY-MM-DD HH:MM:SS`."""
    if text is None:
        return None
    return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def progress(document: dict[str, Any]) -> str:
    """State, phase, step and attempt of a request, in one line."""
    current = document["progress"]
    if not current["phase"]:
        return str(document["state"])
    steps = f" {current['step']}/{current['total']}" if current["total"] else ""
    attempt = f" (attempt {current['attempt']})" if current["attempt"] > 1 else ""
    return f"{document['state']}: {current['phase']}{steps}{attempt}"


def mebibytes(size: int | None) -> str | None:
    """A size in bytes as text, in MiB."""
    return None if size is None else f"{size / 2**20:,.0f} MiB"


def affected_versions(versions: list[dict[str, Any]]) -> list[str]:
    """A line for each version that was trained on the images of a request, with the state of its deletion."""
    return [f"{item['model']} version {item['number']}: {item['state'].replace('_', ' ')}" for item in versions]
