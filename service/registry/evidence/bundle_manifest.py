"""The signed manifest of a bundle of evidence: the digests of its files."""

import hashlib
import json
import uuid
from collections.abc import Iterable, Iterator, Mapping

from service.registry.crypto import dsse
from service.registry.crypto.canonical_json import canonical
from service.registry.crypto.signing_keys import PublicKey, Signer
from service.registry.evidence.statement import STATEMENT

MANIFEST, SIGNED = "manifest.json", "manifest.signed.json"

#: A name like that of certificates, but another, so that neither signature passes for the other.
PREDICATE = "https://structguard.example/attestation/evidence-bundle/v1"


class OtherFiles(Exception):
    """The files are not those of the manifest; the message says which."""


def with_manifest(
    files: Iterable[tuple[str, bytes]], request_id: uuid.UUID, signer: Signer
) -> Iterator[tuple[str, bytes]]:
    """The files, followed by the manifest and its signed statement."""
    digests = {}
    for name, content in files:
        digests[name] = _sha256(content)
        yield name, content
    manifest = canonical({"sha256": digests})
    yield MANIFEST, manifest
    statement = {
        "_type": STATEMENT,
        "subject": [{"name": MANIFEST, "digest": {"sha256": _sha256(manifest)}}],
        "predicateType": PREDICATE,
        "predicate": {"request": str(request_id), "files": list(digests)},
    }
    yield SIGNED, dsse.sign(statement, signer)


def check(files: Mapping[str, bytes], key: PublicKey) -> str:
    """Verify that the key has signed exactly these files, in this order; the identifier of their request.

    Raises:
        NotAnEnvelope, OtherKey, SignatureInvalid: the key has not signed the manifest.
        OtherFiles: it has signed one of other files.
    """
    statement = dsse.verify(files[SIGNED], key)
    subject = [{"name": MANIFEST, "digest": {"sha256": _sha256(files.get(MANIFEST, b""))}}]
    if (statement["predicateType"], statement["subject"]) != (PREDICATE, subject):
        raise OtherFiles("The manifest is not the one that was signed.")
    digests = json.loads(files[MANIFEST])["sha256"]
    actual = {name: _sha256(content) for name, content in files.items() if name not in (MANIFEST, SIGNED)}
    differing = sorted(name for name in digests.keys() | actual.keys() if digests.get(name) != actual.get(name))
    if differing:
        raise OtherFiles(f"Changed, missing or added: {', '.join(differing)}.")
    if list(files) != [*statement["predicate"]["files"], MANIFEST, SIGNED]:
        raise OtherFiles("The files stand in another order.")
    request_id: str = statement["predicate"]["request"]
    return request_id


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
