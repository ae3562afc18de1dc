"""What Schemathesis cannot know: files that are what they should be, what goes together, and where to send nothing."""

import json
import os
import re
import zlib

import schemathesis
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from schemathesis.openapi.checks import RejectedPositiveData

from tests.service import given

_OWN_KEY = os.environ["FUZZ_KEY_ID"]
_ADDRESS = re.compile(r"^https?://.*", re.DOTALL)
_NOWHERE = "http://127.0.0.1:9/"  # the discard port of this machine

_ANCHORS = given.npz(emb=given.np.eye(3, dtype="float32"), names=given.np.array(given.CLASSES))
_PICTURE = given.png(1)

#: By the media types of a form's parts.
_FILES = {
    "image/png": st.builds(given.png, st.integers(0, 255), st.sampled_from([(8, 8), (32, 32)])),
    "application/zip": st.just(given.archive({"cat/0.png": _PICTURE})),
    "application/octet-stream": st.sampled_from([given.checkpoint(), _ANCHORS]),
    "text/csv": st.lists(st.sampled_from("abcdefgh"), min_size=1, unique=True).map(
        lambda samples: given.csv_of(*map(given.row, samples))
    ),
}
for _media_type, _strategy in _FILES.items():
    schemathesis.openapi.media_type(_media_type, st.one_of(_strategy, st.binary(max_size=64)))

#: Parts that fit together, which chance would not bring together: every other form that is as described has them.
_FITTING = {
    "register_version": {
        **given.VERSION,
        "attributes": {},
        "parent": None,
        "sha256": None,
        "checkpoint": given.checkpoint(),
    },
    "add_evaluation_set": {"labels": ["cat"], "images": [_PICTURE]},
    "register_anchor_set": {"classes": given.CLASSES, "anchors": _ANCHORS},
    "submit_deletion_request": {
        "model": "pets",
        "labels": ["cat"],
        "subject_id": None,
        "sample_ids": None,
        "options": {},
        "images": [_PICTURE],
    },
}

#: Problems, and faults, that a request as described may meet all the same: no schema can state them.
_BEYOND_SCHEMAS = {
    "/problems/malformed-cursor": "a cursor is good for the listing that gave it out",
    "/problems/checkpoint-rejected": "it depends on what is in the file",
    "/problems/idempotency-key-reused": "it depends on what was sent before",
    "/problems/precondition-failed": "it depends on what is stored",
}
_FAULTS_BEYOND_SCHEMAS = re.compile(
    r"#/(images|anchors|manifest|checkpoint|labels|sha256)\b"  # what is in files, and what is said about it
    r"|This model has no such version|No model is registered|There is no anchor set|no manifest of the model"  # stored
    r"|#/options/references/\d+ "  # the same of versions of other models
    r"|at most 20 webhooks|must be a pool of workers that there is"  # how many, and which, there are
    r"|images are needed|cannot go with|goes with the encoder|the profile `paper`"  # one field and another
    r"|only `erasure` is supported|none is of a kind that|hexadecimal digits in this format"  # OpenDSR
    r"|three channels only|one value for each|images of at least|multiples of|square images|are not among the classes"
)


@schemathesis.hook
def before_call(context, case, kwargs):
    """Nothing leaves this machine, whatever address was thought of; and the run does not revoke its own key.

    Nor does it say where its messages end: with that, uvicorn refuses them before the service sees any.
    """
    for framing in ("content-length", "transfer-encoding"):
        case.headers.pop(framing, None)
    if (tamed := _tamed(case.body)) != case.body:  # setting it has it judged anew, and bytes are no JSON
        case.body = tamed
    if _OWN_KEY in map(str, case.path_parameters.values()):
        case.path_parameters = dict.fromkeys(case.path_parameters, given.UNKNOWN)


def _tamed(body):
    match body:
        case str():
            return _ADDRESS.sub(_NOWHERE, body)
        case list():
            return [_tamed(item) for item in body]
        case dict():
            return {name: _tamed(value) for name, value in body.items()}
    return body


@schemathesis.hook
def map_body(context, body):
    """Several images are a list, and now and then the parts of a form fit together."""
    if hasattr(body, "content_types"):  # a form with files
        name = context.operation.definition.raw["operationId"]
        if isinstance(body.body.get("images"), bytes):
            body.body["images"] = [body.body["images"]]
        schemas = context.operation.schema.raw_schema["components"]["schemas"]
        form = schemas[f"Body_{name}"]
        if name in _FITTING and _is_as_described(form, schemas, body.body):
            for field, value in _FITTING[name].items():
                part = body.body if field in form["properties"] else body.body["metadata"]
                part[field] = value
    return body


def _is_as_described(form, schemas, parts):
    """Half of the forms that are; what was made to be refused has to stay so."""
    metadata = {**form["properties"]["metadata"], "components": {"schemas": schemas}}
    return (
        set(form["required"]) <= parts.keys() <= form["properties"].keys()
        and zlib.crc32(repr(parts).encode()) % 2 == 0
        and Draft202012Validator(metadata).is_valid(parts["metadata"])
    )


@schemathesis.hook
def filter_failure(context, failure, case, response):
    """A request that is as described may be refused for what no schema can state, and for nothing else."""
    if not isinstance(failure, RejectedPositiveData):
        return True
    is_placeholder = isinstance(case.body, dict) and case.body.get("metadata") == ""  # of the coverage phase: no object
    return not (is_placeholder or _is_beyond_schemas(json.loads(response.content)))


def _is_beyond_schemas(problem):
    if "error" in problem:  # as OpenDSR has it
        faults = [f"{error['reason']} {error['message']}" for error in problem["error"]["errors"]]
    elif problem["type"] in _BEYOND_SCHEMAS:
        return True
    else:
        faults = [f"{error['pointer']} {error['detail']}" for error in problem["errors"]]
    return bool(faults) and all(_FAULTS_BEYOND_SCHEMAS.search(fault) for fault in faults)
