"""Answers of the service as tables and lines for a person. Pure: documents in, renderables out."""

from datetime import datetime
from typing import Any

from rich.table import Table

#: Names for people, by the service's names of its measurements.
METRICS = {
    "forget_accuracy": "A_f, images to forget that are misclassified",
    "robust_forget_accuracy": "robust A_f, the same over flips, shifts, noise …",
    "test_accuracy": "A_test, test images classified correctly",
    "retain_accuracy": "A_r, retained images classified correctly",
    "collapse": "structural collapse, 0 is none",
}


def metrics(measured: dict[str, Any]) -> Table:
    """Before and after, of everything that can be measured; what was not says so."""
    table = Table("", "before", "after", box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for name, title in METRICS.items():
        sides = (measured.get(side, {}).get(name) for side in ("before", "after"))
        table.add_row(title, *(_number(name, value) for value in sides))
    return table


def _number(name: str, value: float | None) -> str:
    if value is None:
        return "not measured"
    return f"{value:.4f}" if name == "collapse" else f"{value:.2f} %"


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
