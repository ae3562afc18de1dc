"""A certificate's statement as tables of a document, of which both renderings, HTML and PDF, are made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from service.registry.crypto.canonical_json import leaves
from service.registry.measurements.definitions import MEASUREMENTS
from service.registry.tables import Certificate

UNKNOWN = "not measured"

_OUTCOMES = {
    "completed": "A new version of the model was made, and passed the quality gate.",
    "needs_review": "A new version of the model was made. It did not pass the quality gate and needs review.",
}
_STATES = {
    "unlearned": "A run that passed was asked to forget all that it has learned of them.",
    "pending": "A request under way names what it has learned of them.",
    "needs_unlearning": "It has learned of them, and nobody has asked it to forget.",
    "presumed": "It shares an ancestor with the new version. Whether it has learned the images is not known.",
}


@dataclass(frozen=True)
class Table:
    """Rows under a title; the first cell of each row is its name."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    note: str = ""


@dataclass(frozen=True)
class Document:
    """The contents of a rendered certificate."""

    title: str
    lead: str
    tables: list[Table]
    limits: list[str]


def document(certificate: Certificate, statement: Mapping[str, Any]) -> Document:
    """All facts of a certificate, from the in-toto statement that it signs; the most important ones first."""
    predicate = statement["predicate"]
    [request_id] = predicate["request_ids"]
    return Document(
        title=f"Certificate of deletion request {request_id}",
        lead=_OUTCOMES[predicate["outcome"]],
        tables=[
            _request(predicate),
            _measurements(predicate),
            _model(statement, predicate),
            _affected_versions(predicate),
            _method(predicate),
            _basis(predicate),
            _all_numbers(predicate),
            _proof(certificate, statement, predicate),
        ],
        limits=predicate["statement_of_limits"],
    )


def shown(value: object) -> str:
    """A value as text: six significant digits, `yes` or `no`, `not measured` for nothing."""
    if value is None:
        return UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _facts(title: str, rows: Mapping[str, object], note: str = "") -> Table:
    return Table(title, ("", ""), [(name, shown(value)) for name, value in rows.items()], note)


def _request(predicate: Mapping[str, Any]) -> Table:
    images = predicate["forget_set"]["images"]
    rows = {
        "Request": predicate["request_ids"][0],
        "Regulation": predicate["regulation"],
        "Received": predicate["received"],
        "Answer due": predicate["due"],
        "Ended": predicate["completed"],
        "Images named": predicate["forget_set"]["count"],
        "Commitment to them": predicate["forget_set"]["commitment"],
        "These images": f"{images['disposition']}, {images['at']}",
        "Requests that the run served": predicate["run"]["requests"],
    }
    return _facts(
        "The request", rows, "The commitment says nothing about anybody to whoever lacks the key of the tenant."
    )


def _measurements(predicate: Mapping[str, Any]) -> Table:
    before, after = (predicate["measurements"][when] or {} for when in ("before", "after"))
    rows = [
        (measurement.heading, shown(measurement.of(before)), shown(measurement.of(after)), measurement.sentence)
        for measurement in MEASUREMENTS
    ]
    note = "All numbers, also those of each view, attack and search, stand below."
    return Table("What was measured", ("", "Before", "After", "Meaning"), rows, note)


def _model(statement: Mapping[str, Any], predicate: Mapping[str, Any]) -> Table:
    [subject], parent, gate = statement["subject"], predicate["parent"], predicate["gate"]
    rows = {
        "New version": subject["name"],
        "Its file, SHA-256": subject["digest"]["sha256"],
        "Made from": parent["name"],
        "Its file, SHA-256 ": parent["digest"]["sha256"],
        "What became of that one": " since ".join(filter(None, (parent["disposition"], parent["at"]))),
        "Quality gate": gate["result"],
        "Objections": "; ".join(gate["objections"] or []) or "none",
    }
    return _facts("The model", rows)


def _affected_versions(predicate: Mapping[str, Any]) -> Table:
    rows = [
        (
            version["name"],
            f"{version['state']}, {version['disposition']}",
            ", ".join(version["aliases"]) or "none",
            _STATES[version["state"]],
        )
        for version in predicate["reach"]["versions"]
    ]
    note = f"By {predicate['reach']['basis']}, as of {predicate['issued']}."
    return Table("Versions that this data has reached", ("", "State", "Aliases", "Meaning"), rows, note)


def _method(predicate: Mapping[str, Any]) -> Table:
    method = predicate["method"]
    rows = {
        "Method": f"{method['name']} {method['version']}, profile {method['profile']}",
        "Goal": method["goal"],
        "Scope": method["scope"],
        "Seed": method["seed"],
        "Parameters, SHA-256": method["parameters_sha256"],
    }
    return _facts("The method", rows)


def _basis(predicate: Mapping[str, Any]) -> Table:
    unknown = "not recorded"
    anchors, environment = predicate["anchors"], predicate["environment"]
    rows: dict[str, object] = {
        "Policy of the gate, SHA-256": predicate["gate"]["policy_sha256"] or unknown,
        "Encoder of the anchors": anchors["encoder"] if anchors else unknown,
        "Its weights, SHA-256": (anchors and anchors["encoder_sha256"]) or unknown,
        "Anchors, SHA-256": anchors["digest"]["sha256"] if anchors else unknown,
    }
    for evaluation_set in predicate["evaluation_sets"] or []:
        rows[f"Set of kind {evaluation_set['kind']}"] = (
            f"{evaluation_set['name']}, {evaluation_set['count']} images, SHA-256 {evaluation_set['digest']['sha256']}"
        )
    for reference in predicate.get("references") or []:  # certificates of earlier releases have no such key
        use = (
            "SHA-256"
            if reference["left_out"] is None
            else f"left out ({reference['left_out'].replace('_', ' ')}), SHA-256"
        )
        rows[f"Reference model {reference['name']}"] = f"{use} {reference['digest']['sha256']}"
    for name, value in leaves(environment):
        rows[f"Environment: {name}"] = unknown if value is None else value
    return _facts("What the measurements rest on", rows)


def _all_numbers(predicate: Mapping[str, Any]) -> Table:
    values = {
        "measurements": predicate["measurements"],
        "policy": predicate["gate"]["policy"],
        "parameters": predicate["method"]["parameters"],
    }
    return Table("All numbers", ("", ""), [(path, shown(value)) for path, value in leaves(values)])


def _proof(certificate: Certificate, statement: Mapping[str, Any], predicate: Mapping[str, Any]) -> Table:
    rows = {
        "Issued": predicate["issued"],
        "Certificate, SHA-256": certificate.sha256,
        "Signed by key": certificate.key_id,
        "Kind of statement": statement["predicateType"],
        "Audit log, height": predicate["audit"]["chain_height"],
        "Audit log, head": predicate["audit"]["head_sha256"],
    }
    note = (
        "This page is a rendering. What is signed is the certificate itself, a JSON file; "
        "structguard verify CERTIFICATE MODEL --key PUBLIC_KEY checks it, without a network."
    )
    return _facts("How to check it", rows, note)
