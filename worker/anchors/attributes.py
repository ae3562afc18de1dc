"""What each class looks like, in words: given by the user, from our own library, or from a chat model."""

import argparse
import functools
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import httpx
from pydantic import Field, TypeAdapter

LIBRARY = Path(__file__).with_name("attributes.json")  # written for this product; `a|b` are two names of one class

_Answer = TypeAdapter(Annotated[list[Annotated[str, Field(min_length=1, max_length=120)]], Field(min_length=1)])

_QUESTION = (
    "By which visual attributes can one recognise the class {name!r} in a photo, among these classes: {others}? "
    "Answer with a JSON array of five to seven short noun phrases and nothing else. Do not repeat the class's name."
)


class ChatAnswerUnusable(Exception):
    """The chat model did not answer with a JSON array of attributes."""


def descriptions(classes: Sequence[str], supplied: Mapping[str, Sequence[str]] | None = None) -> list[str]:
    """One text per class, in order: its attributes in a row, as in section 3 of the paper (arXiv 2603.12915).

    What is supplied goes before the library. A class that neither knows becomes "a photo of a …". Names match whatever
    their case, underscores and punctuation.
    """
    attributes_by_class = _library() | {_key(name): list(attributes) for name, attributes in (supplied or {}).items()}
    return [
        "; ".join(attributes_by_class.get(_key(name), [])) or f"a photo of a {name.replace('_', ' ')}"
        for name in classes
    ]


def from_chat(classes: Sequence[str], *, base_url: str, api_key: str, model: str) -> dict[str, list[str]]:
    """Ask an OpenAI-compatible endpoint for each class's attributes. Nothing but class names leaves this machine.

    So it is not for classes that are people: there a name is personal data. `base_url` is the part before
    `/chat/completions`. Raises ChatAnswerUnusable, which names the class, and httpx's own errors when the endpoint is
    unreachable or refuses.
    """
    headers = {"Authorization": f"Bearer {api_key}"}
    with httpx.Client(base_url=base_url.rstrip("/"), headers=headers, timeout=60) as client:
        return {name: _ask(client, model, name, classes) for name in classes}


def _ask(client: httpx.Client, model: str, name: str, classes: Sequence[str]) -> list[str]:
    question = _QUESTION.format(name=name, others=", ".join(classes))
    body = {"model": model, "temperature": 0, "messages": [{"role": "user", "content": question}]}
    response = client.post("/chat/completions", json=body).raise_for_status()
    try:
        text: str = response.json()["choices"][0]["message"]["content"]
        return _Answer.validate_json(text[text.index("[") : text.rindex("]") + 1])  # models like to put it in a fence
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise ChatAnswerUnusable(f"{ChatAnswerUnusable.__doc__} Class: {name}.") from error


@functools.cache
def _library() -> dict[str, list[str]]:
    sets: dict[str, dict[str, list[str]]] = json.loads(LIBRARY.read_bytes())
    return {
        _key(name): texts for classes in sets.values() for names, texts in classes.items() for name in names.split("|")
    }


def _key(name: str) -> str:
    return re.sub(r"[\W_]+", " ", name).strip().casefold()


def main() -> None:
    """Print what a chat model says of the classes, ready to be read, corrected and registered with a version.

    A person runs this on purpose: names of classes can be names of people, and then they must not be sent anywhere.
    """
    parser = argparse.ArgumentParser(prog="python -m worker.anchors.attributes", description=main.__doc__)
    parser.add_argument("classes", nargs="+")
    parser.add_argument("--url", default="https://api.openai.com/v1", help="base URL of an OpenAI-compatible endpoint")
    parser.add_argument("--model", default="gpt-4o")
    arguments = parser.parse_args()
    key = os.environ.get("OPENAI_API_KEY", "")
    attributes = from_chat(arguments.classes, base_url=arguments.url, api_key=key, model=arguments.model)
    print(json.dumps(attributes, indent=2))  # noqa: T201


if __name__ == "__main__":
    main()
