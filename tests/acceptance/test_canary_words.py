import base64
import hashlib
import json

import pytest

from tests.acceptance.canaries import Canaries, encoded

FORMS = {
    "plain": str.encode,
    "in capitals": lambda word: word.upper().encode(),
    "as JSON": lambda word: json.dumps({word: 1}).encode(),
    "percent-encoded": lambda word: encoded(word).encode(),
    "hex": lambda word: word.encode().hex().encode(),
    "base64": lambda word: base64.b64encode(word.encode()),
    "base64 after one byte": lambda word: base64.b64encode(b"x" + word.encode()),
    "base64 after two bytes": lambda word: base64.urlsafe_b64encode(b"xx" + word.encode()),
    "UTF-16": lambda word: word.encode("utf-16"),
    "SHA-256": lambda word: hashlib.sha256(word.encode()).digest(),
    "SHA-256 in hex": lambda word: hashlib.sha256(word.encode()).hexdigest().encode(),
    "SHA-256 in base64": lambda word: base64.b64encode(hashlib.sha256(word.encode()).digest()),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_word_is_found_in_every_form(form):
    words = Canaries()
    person, label = words.person("a field"), words.label("a name")
    assert words.found(b"\0" + FORMS[form](person) + b"\0", labels=True)
    assert words.found(b"\0" + FORMS[form](label) + b"\0", labels=False)
    assert not words.found(b"\0" + FORMS[form]("canary-of-nobody") + b"\0", labels=False)


def test_labels_are_told_apart_and_places_are_named():
    words = Canaries()
    label = words.label("the name of a model").encode()
    assert not words.found(label, labels=True)
    assert words.found(label, labels=False) == ["canary-own-name-0000 of the name of a model"]
    assert words.labels_in(b"x" + label + b"x") == {label.decode()}
