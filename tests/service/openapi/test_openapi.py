"""`GET /openapi.json`: what it says is well-formed, complete, and true of what is sent."""

import json

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from sqlalchemy import select

from service.registry.crypto.master_key import MasterKey
from service.registry.storage.database import clock
from service.registry.tables import DeletionRequest, WebhookMessage
from service.registry.webhooks import endpoints, outbox
from service.registry.webhooks.endpoints import TEST_EVENT, Event


@pytest.fixture
def document(client):
    return client.get("/openapi.json").json()


def operations(document):
    return [operation for path in document["paths"].values() for operation in path.values()]


def check(document, name, instance):
    """Hold an instance against the schema of this name."""
    schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
    Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(instance)


def test_it_is_openapi(document):
    """3.1, by the specification's own schema, with every reference leading somewhere."""
    assert document["openapi"].startswith("3.1.")
    validate(document)


def test_every_operation_says_what_it_is(document):
    """Title, text, a tag that is explained, and a name that a generated client can use."""
    tags = {tag["name"] for tag in document["tags"]}
    for operation in operations(document):
        assert operation["operationId"].isidentifier()
        assert operation["summary"]
        assert operation["description"] not in ("", operation["summary"])
        assert set(operation["tags"]) <= tags
        for parameter in operation.get("parameters", []):
            assert parameter["description"], (operation["operationId"], parameter["name"])


def name_of(reference):
    return reference["$ref"].rpartition("/")[2]


def json_schemas(operation, schemas):
    """The names of what is sent and answered as JSON, as a part of a form too."""
    bodies = operation.get("requestBody", {}).get("content", {})
    if form := bodies.get("multipart/form-data"):
        yield name_of(schemas[name_of(form["schema"])]["properties"]["metadata"])
    answers = [answer.get("content", {}) for status, answer in operation["responses"].items() if status[0] == "2"]
    for content in (bodies, *answers):
        if "application/json" in content:
            yield name_of(content["application/json"]["schema"])


def test_every_body_has_an_example(document):
    """Whatever is JSON; errors have one where there is only one kind of them."""
    schemas = document["components"]["schemas"]
    used = {name for operation in operations(document) for name in json_schemas(operation, schemas)}
    assert sorted(name for name in used if not schemas[name].get("examples")) == []


def test_every_example_is_valid(document):
    """By the schema that it is an example of."""
    schemas = document["components"]["schemas"]
    examples = [(name, example) for name, schema in schemas.items() for example in schema.get("examples", [])]
    for name, example in examples:
        check(document, name, example)
    for operation in operations(document):
        for response in operation["responses"].values():
            for media_type, media in response.get("content", {}).items():
                if "example" in media and media_type.endswith("json"):
                    check(document, name_of(media["schema"]), media["example"])
    assert len(examples) > 30


def test_links_lead_to_operations(document):
    """With parameters that these have, out of fields that the answer has."""
    by_id = {operation["operationId"]: operation for operation in operations(document)}
    linked = set()
    for operation in by_id.values():
        for response in operation["responses"].values():
            for link in response.get("links", {}).values():
                expected = {p["name"] for p in by_id[link["operationId"]].get("parameters", []) if p["in"] == "path"}
                assert link["parameters"].keys() == expected
                linked.add(link["operationId"])
    assert {"read_model", "register_version", "cancel_deletion_request", "download_checkpoint"} <= linked


def test_webhooks_are_described_as_they_are_sent(client, document, database, settings):
    """Each event, and the test: what lies in the outbox is what the description says."""
    assert document["webhooks"].keys() == {*Event, TEST_EVENT}
    client.model_with_version()
    client.deletion_request()
    with database.write() as session:
        request = session.scalars(select(DeletionRequest)).one()
        endpoint = endpoints.create(
            session,
            request.tenant_id,
            MasterKey(settings),
            url="https://hooks.example/",
            events=[],
            description="",
        )
        endpoints.send_test(session, endpoint)
        outbox.announce(session, [request], at=clock(session))
        sent = {message.type: json.loads(message.body) for message in session.scalars(select(WebhookMessage))}
        session.rollback()  # and nobody sends them
    assert sent.keys() == {"deletion_request.queued", TEST_EVENT}
    for kind, message in sent.items():
        body = document["webhooks"][kind]["post"]["requestBody"]["content"]["application/json"]["schema"]
        check(document, name_of(body), message)
    names = {p["name"] for p in document["webhooks"][TEST_EVENT]["post"]["parameters"]}
    assert names == {"webhook-id", "webhook-timestamp", "webhook-signature"}
