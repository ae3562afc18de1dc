"""Answers of the service as tables and lines for a person. Pure: documents in, renderables out."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from rich.table import Table

from service.registry.measurements.definitions import Detail, Measurement, shown


def _advantage(inference: Mapping[str, Any]) -> str:
    """With the number of images it rests on: against two of them anything is possible."""
    value = inference["advantage"]
    return "not measured" if value is None else f"{value:.4f} ({inference['controls']})"


def _steps(relearning: Mapping[str, Any]) -> str:
    return f"over {relearning['max_steps']}" if relearning["steps"] is None else str(relearning["steps"])


#: Numbers that say little without what stands beside them.
_WITH_CONTEXT = {"advantage": _advantage, "steps": _steps}


def _written(measurement: Measurement, measured: Mapping[str, Any]) -> str:
    write, group = _WITH_CONTEXT.get(measurement.path.rpartition(".")[2]), measurement.group(measured)
    if write is not None and group:
        return write(group)
    value = measurement.of(measured)
    if value is None:
        return "not measured"
    return f"{value:.2f} %" if measurement.unit == "%" else f"{value:.4f}"


def metrics(measured: dict[str, Any]) -> Table:
    """Before and after, of everything that can be measured; what was not says so."""
    table = Table("", "before", "after", box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for one in shown(Detail.TERMINAL):
        values = (_written(one, measured.get(side, {})) for side in ("before", "after"))
        table.add_row(f"{one.label}, {one.phrase}", *values)
    return table


def _references(named: list[dict[str, Any]]) -> str | None:
    """How many membership inference was tried with; nothing where there were none, as with an earlier release."""
    used = sum(one["left_out"] is None for one in named)
    return f"{used} of {len(named)}" if named else None


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
        times = (moment(item[at]) or "" for at in ("created_at", "expires_at", "revoked_at"))
        table.add_row(item["id"], item["name"], item["prefix"], item["last_four"], " ".join(item["scopes"]), *times)
    return table


def moment(text: str | None) -> str | None:
    """A time of the service, in the zone of this machine."""
    if text is None:
        return None
    return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def progress(document: dict[str, Any]) -> str:
    """How far a request is, in one line."""
    at = document["progress"]
    if not at["phase"]:
        return str(document["state"])
    steps = f" {at['step']}/{at['total']}" if at["total"] else ""
    again = f" (attempt {at['attempt']})" if at["attempt"] > 1 else ""
    return f"{document['state']}: {at['phase']}{steps}{again}"


def mebibytes(size: int | None) -> str | None:
    """A size for people."""
    return None if size is None else f"{size / 2**20:,.0f} MiB"


def reach(versions: list[dict[str, Any]]) -> list[str]:
    """A line for each version that has learned from what a request names."""
    return [f"{one['model']} version {one['number']}: {one['state'].replace('_', ' ')}" for one in versions]
