"""What a processor refuses, and how (sections 4.3, 5, 7.1, 7.5 and 7.6)."""

import json
import uuid
from typing import Any

from service.cli.opendsr.checks import expectations
from service.cli.opendsr.suite import must, should
from service.cli.opendsr.target import CheckFailed, CheckSkipped, Target

_CANARY = "opendsr-check-canary-4711"

#: Fields that make a request invalid, by name of the check, with their section; None leaves a field out.
_INVALID_FIELDS: dict[str, tuple[str, dict[str, Any]]] = {
    "regulation-missing": ("7.1.1", {"regulation": None}),
    "regulation-unknown": ("7.1.1", {"regulation": "nonsense"}),
    "identifier-missing": ("7.1.1", {"subject_request_id": None}),
    "identifier-not-a-uuid": ("7.1.1", {"subject_request_id": "4711"}),
    "identifier-not-version-4": ("1.1", {"subject_request_id": str(uuid.UUID(int=1))}),
    "type-missing": ("7.1.1", {"subject_request_type": None}),
    "type-unknown": ("7.1.1", {"subject_request_type": "nonsense"}),
    "time-missing": ("7.1.1", {"submitted_time": None}),
    "time-not-rfc-3339": ("7.1.1", {"submitted_time": "yesterday"}),
    "identities-missing": ("5.3", {"subject_identities": None}),
    "identity-type-unknown": (
        "5.1",
        {"subject_identities": [{"identity_type": "nonsense", "identity_value": _CANARY, "identity_format": "raw"}]},
    ),
    "identity-format-unknown": (
        "5.2",
        {"subject_identities": [{"identity_type": "email", "identity_value": _CANARY, "identity_format": "nonsense"}]},
    ),
    "identity-value-missing": ("5.3", {"subject_identities": [{"identity_type": "email", "identity_format": "raw"}]}),
}


def _declare(name: str, clause: str, fields: dict[str, Any]) -> None:
    @must(f"refused-{name}", f"7.5, {clause}")
    def refused(target: Target) -> None:
        expectations.status(target.create(target.request(**fields)), 400)


for _name, (_clause, _fields) in _INVALID_FIELDS.items():
    _declare(_name, _clause, _fields)


@must("refused-not-json", "7.5")
def not_json(target: Target) -> None:
    """A body with a trailing comma, like the one of section 7.2."""
    body = json.dumps(target.request()).replace("}]", "},]").encode()
    expectations.status(target.call("POST", f"{target.prefix}/requests", content=body), 400)


@must("refused-unsupported-type", "6.3, 7.5")
def unsupported_type(target: Target) -> None:
    """A type of request that discovery does not list is refused."""
    supported = target.discovery.get("supported_subject_request_types")
    if not isinstance(supported, list):
        raise CheckSkipped("discovery has no list of what is supported")
    unsupported = [kind for kind in ("access", "portability", "erasure") if kind not in supported]
    if not unsupported:
        raise CheckSkipped("every type is supported")
    expectations.status(target.create(target.request(subject_request_type=unsupported[0])), 400)


@must("refused-unknown-status", "8.1")
def unknown_status(target: Target) -> None:
    """The status of an unknown request is refused; 404 is erratum 6."""
    expectations.status(target.status(str(uuid.uuid4())), 400, 404)


@must("refused-unknown-cancellation", "9")
def unknown_cancellation(target: Target) -> None:
    """An unknown request cannot be cancelled."""
    expectations.status(target.cancel(str(uuid.uuid4())), 400, 404)


@must("refused-without-credentials", "4.3")
def without_credentials(target: Target) -> None:
    """A request without credentials is refused."""
    if not target.authorization:
        raise CheckSkipped("no credentials were given")
    body = json.dumps(target.request()).encode()
    response = target.call("POST", f"{target.prefix}/requests", content=body, is_authenticated=False)
    expectations.status(response, 400, 401, 403)


@should("error-object", "7.6")
def error_object(target: Target) -> None:
    """An error is an error object."""
    response = target.create(target.request(subject_request_id="4711"))
    if response.is_success:
        raise CheckSkipped("there is no error")
    expectations.error(response)


@must("error-names-nobody", "7.6")
def error_names_nobody(target: Target) -> None:
    """An error repeats no identity."""
    for name in ("identity-type-unknown", "identity-format-unknown"):
        response = target.create(target.request(**_INVALID_FIELDS[name][1]))
        if not response.is_success and _CANARY in response.text:
            raise CheckFailed("the error repeats an identity")
