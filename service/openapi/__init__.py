"""The OpenAPI document: tags, an introduction, and what FastAPI does not derive from the routes."""

from typing import Any

from fastapi import FastAPI

from service.openapi import examples, forms, headers, links, parameters, problems, responses

TAGS = [
    {"name": "Models", "description": "Classifiers, each under one name, with the limits of its quality gate."},
    {"name": "Versions", "description": "Checkpoints of a model, uploaded or made by a run. They never change."},
    {"name": "Training manifests", "description": "What a version was trained on, so that people can be found in it."},
    {"name": "Aliases", "description": "Names such as `production` that point to a version, and can be moved."},
    {"name": "Evaluation sets", "description": "Labelled images that versions of a model are measured on."},
    {"name": "Anchor sets", "description": "Semantic anchors: one vector for each class."},
    {"name": "Architectures", "description": "The networks that a checkpoint may be for."},
    {"name": "Deletion requests", "description": "What is to be forgotten, and what became of it."},
    {
        "name": "Subjects",
        "description": "The people in training manifests, by identifier going in, by pseudonym coming out.",
    },
    {"name": "Evidence", "description": "Certificates, what else there is to show, and the keys to check it with."},
    {"name": "Jobs", "description": "Unlearning runs: how far they are, what they took, and what they measured."},
    {"name": "API keys", "description": "Who may call, and what for."},
    {"name": "Webhooks", "description": "Who is called back when a deletion request moves."},
    {"name": "Audit log", "description": "Who did what: a hash chain with signed heads, for auditors."},
    {"name": "OpenDSR 2.0", "description": "Erasure as the systems ask for it in which people's requests arrive."},
    {"name": "OpenDSR 1", "description": "The same, for those that still speak the first version."},
    {"name": "Health", "description": "For load balancers and orchestrators. No key needed."},
    {"name": "Problems", "description": "What the `type` of a problem leads to. No key needed."},
]

TEXT = """\
A deletion request names images that a registered image classifier has learned from. The answer is `202 Accepted`; a
worker then changes the model until it misclassifies them, measures what that did, and publishes a new version.

**Callers** send `Authorization: Bearer` with an API key or a token of the configured identity provider. What belongs to
another tenant is answered with 404.

**Errors** are `application/problem+json` (RFC 9457) with JSON Pointers to what is wrong. Every answer has an
`X-Request-Id`, which is the `instance` of a problem.

**Creating** requests take an `Idempotency-Key`: sent again within 24 hours, they get the first answer.

**Lists** are newest first; `next` is the `cursor` of the page after, until it is `null`.

**Quotas**: where one is set, `RateLimit` and `RateLimit-Policy` say what is left, and 429 has `Retry-After`.

**Links** in answers are paths on this server.
"""


def describe(app: FastAPI) -> None:
    """Replace `app.openapi` by one that also completes the document; it is made at its first request and kept."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = generate()
            for aspect in (problems, parameters, forms, responses, headers, links, examples):
                aspect.complete(document)
        return app.openapi_schema or {}

    app.openapi = openapi  # type: ignore[method-assign]
