"""A certificate's statement as sections of a document. Both renderings are made of these, so they say the same."""

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
    """Rows under one heading; the first column names them."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    note: str = ""


@dataclass(frozen=True)
class Document:
    """A certificate in words."""

    title: str
    lead: str
    tables: list[Table]
    limits: list[str]


def document(certificate: Certificate, statement: Mapping[str, Any]) -> Document:
    """All facts of a certificate, the ones that matter most first."""
    said = statement["predicate"]
    [request_id] = said["request_ids"]
    return Document(
        title=f"Certificate of deletion request {request_id}",
        lead=_OUTCOMES[said["outcome"]],
        tables=[
            _request(said),
            _measurements(said),
            _model(statement, said),
            _reach(said),
            _method(said),
            _basis(said),
            _everything(said),
            _proof(certificate, statement, said),
        ],
        limits=said["statement_of_limits"],
    )


def shown(value: object) -> str:
    """A value as it is printed."""
    if value is None:
        return UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _facts(title: str, rows: Mapping[str, object], note: str = "") -> Table:
    return Table(title, ("", ""), [(name, shown(value)) for name, value in rows.items()], note)


def _request(said: Mapping[str, Any]) -> Table:
    images = said["forget_set"]["images"]
    rows = {
        "Request": said["request_ids"][0],
        "Regulation": said["regulation"],
        "Received": said["received"],
        "Answer due": said["due"],
        "Ended": said["completed"],
        "Images named": said["forget_set"]["count"],
        "Commitment to them": said["forget_set"]["commitment"],
        "These images": f"{images['disposition']}, {images['at']}",
        "Requests that the run served": said["run"]["requests"],
    }
    return _facts(
        "The request", rows, "The commitment says nothing about anybody to whoever lacks the key of the tenant."
    )


def _measurements(said: Mapping[str, Any]) -> Table:
    before, after = (said["measurements"][when] or {} for when in ("before", "after"))
    rows = [(one.heading, shown(one.of(before)), shown(one.of(after)), one.sentence) for one in MEASUREMENTS]
    note = "All numbers, also those of each view, attack and search, stand below."
    return Table("What was measured", ("", "Before", "After", "Meaning"), rows, note)


def _model(statement: Mapping[str, Any], said: Mapping[str, Any]) -> Table:
    [subject], parent, gate = statement["subject"], said["parent"], said["gate"]
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


def _reach(said: Mapping[str, Any]) -> Table:
    rows = [
        (
            one["name"],
            f"{one['state']}, {one['disposition']}",
            ", ".join(one["aliases"]) or "none",
            _STATES[one["state"]],
        )
        for one in said["reach"]["versions"]
    ]
    note = f"By {said['reach']['basis']}, as of {said['issued']}."
    return Table("Versions that this data has reached", ("", "State", "Aliases", "Meaning"), rows, note)


def _method(said: Mapping[str, Any]) -> Table:
    method = said["method"]
    rows = {
        "Method": f"{method['name']} {method['version']}, profile {method['profile']}",
        "Goal": method["goal"],
        "Scope": method["scope"],
        "Seed": method["seed"],
        "Parameters, SHA-256": method["parameters_sha256"],
    }
    return _facts("The method", rows)


def _basis(said: Mapping[str, Any]) -> Table:
    unknown = "not recorded"
    anchors, environment = said["anchors"], said["environment"]
    rows: dict[str, object] = {
        "Policy of the gate, SHA-256": said["gate"]["policy_sha256"] or unknown,
        "Encoder of the anchors": anchors["encoder"] if anchors else unknown,
        "Its weights, SHA-256": (anchors and anchors["encoder_sha256"]) or unknown,
        "Anchors, SHA-256": anchors["digest"]["sha256"] if anchors else unknown,
    }
    for kept in said["evaluation_sets"] or []:
        rows[f"Set of kind {kept['kind']}"] = (
            f"{kept['name']}, {kept['count']} images, SHA-256 {kept['digest']['sha256']}"
        )
    for one in said.get("references") or []:  # certificates of earlier releases know of none
        use = "SHA-256" if one["left_out"] is None else f"left out ({one['left_out'].replace('_', ' ')}), SHA-256"
        rows[f"Reference model {one['name']}"] = f"{use} {one['digest']['sha256']}"
    for name, value in leaves(environment):
        rows[f"Environment: {name}"] = unknown if value is None else value
    return _facts("What the measurements rest on", rows)


def _everything(said: Mapping[str, Any]) -> Table:
    values = {
        "measurements": said["measurements"],
        "policy": said["gate"]["policy"],
        "parameters": said["method"]["parameters"],
    }
    return Table("All numbers", ("", ""), [(path, shown(value)) for path, value in leaves(values)])


def _proof(certificate: Certificate, statement: Mapping[str, Any], said: Mapping[str, Any]) -> Table:
    rows = {
        "Issued": said["issued"],
        "Certificate, SHA-256": certificate.sha256,
        "Signed by key": certificate.key_id,
        "Kind of statement": statement["predicateType"],
        "Audit log, height": said["audit"]["chain_height"],
        "Audit log, head": said["audit"]["head_sha256"],
    }
    note = (
        "This page is a rendering. What is signed is the certificate itself, a JSON file; "
        "structguard verify CERTIFICATE MODEL --key PUBLIC_KEY checks it, without a network."
    )
    return _facts("How to check it", rows, note)
