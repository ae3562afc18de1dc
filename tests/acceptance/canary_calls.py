"""Calls every operation as it is meant to be called, and then in every way in which a name could slip in."""

import copy
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx

from tests.acceptance.canaries import Canaries, encoded

#: Fields, of bodies and paths, for what somebody calls a thing of theirs. In all others a word stands for a person.
LABELS = frozenset(
    {
        "name",
        "description",
        "classes",
        "attributes",
        "value",
        "reason",
        "url",
        "regulation",
        "alias",
        "key",
        "status_callback_urls",
    }
)

#: What comes along with requests and means nothing to us.
_LUGGAGE = (
    "User-Agent",
    "Referer",
    "Cookie",
    "Origin",
    "X-Forwarded-For",
    "X-Request-ID",
    "Baggage",
    "Traceparent",
    "Tracestate",
    "Accept-Language",
)

Files = list[tuple[str, bytes]]


@dataclass
class Told:
    """What came back for one request, and the words that were in it."""

    request: str
    status: int
    text: bytes
    sent: str


class Calls:
    """Sends requests, and remembers what was told."""

    def __init__(self, url: str, key: str, stranger: str, words: Canaries) -> None:
        self._http = httpx.Client(base_url=url, timeout=60)
        self._key, self._stranger = key, stranger
        self._words = words
        self._document = self._http.get("/openapi.json").json()
        self.operations = {(method.upper(), path) for path, item in self._document["paths"].items() for method in item}
        self.accepted: set[tuple[str, str]] = set()
        self.told: list[Told] = []

    def __enter__(self) -> "Calls":
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def __call__(self, method: str, path: str, *, by: str | None = None, spoil: bool = True, **sent: Any) -> Any:
        """Call it with values that it accepts; `spoil` says whether the variations follow. The answer's document.

        `sent` are parameters of the path, `body` (JSON) or `metadata`, `files`, and `query`.
        """
        values = {name: str(sent.pop(name)) for name in list(sent) if f"{{{name}}}" in path}
        where = path.format(**{name: value.replace("%", "%25") for name, value in values.items()})
        known = self._document["paths"][path][method.lower()].get("parameters", [])
        headers = {"Idempotency-Key": self._words.person(f"Idempotency-Key, {method} {where}, {len(self.told)}")}
        answer = self._send(method, where, headers=headers, by=by or self._key, **sent)
        assert answer.status_code < 400, f"{method} {path} was refused: {answer.text}"
        self.accepted.add((method, path))
        if spoil:
            for variation in self._spoilt(method, path, values, known, sent):
                self._send(**{"method": method, "where": where, "by": self._key} | sent | variation)
        return answer.json() if answer.content and "/json" in answer.headers["content-type"] else None

    def _spoilt(
        self, method: str, path: str, values: dict[str, str], known: list[dict[str, Any]], sent: dict[str, Any]
    ) -> Iterator[dict[str, Any]]:
        operation = f"{method} {path}"
        for name in values:
            word = self._word([name], f"path of {operation}")
            yield {"where": path.format(**values | {name: word})}
            yield {"where": path.format(**values | {name: encoded(word)})}
        for parameter in known:
            word = self._words.person(f"{parameter['in']} {parameter['name']} of {operation}")
            if parameter["in"] == "query":
                yield {"query": {parameter["name"]: word}}
            if parameter["in"] == "header":
                yield {"headers": {parameter["name"]: f"{word} ("}}
        word = self._words.person(operation)
        yield {"query": {word: word}}
        yield {"by": word}
        yield {"by": self._stranger}
        yield {"method": word.upper()}
        yield {"content": json.dumps({word: word})[:-1], "headers": {"Content-Type": "application/json"}}
        yield {"content": f"--{word}", "headers": {"Content-Type": f"multipart/form-data; boundary={word}"}}
        yield {"content": f"{word}={word}", "headers": {"Content-Type": "application/x-www-form-urlencoded"}}
        yield {"content": word, "headers": {"Content-Type": f"text/{word}", "Content-Encoding": word}}
        for kind in ("body", "metadata"):
            for changed in self._spoilt_bodies(sent.get(kind), operation):
                yield {kind: changed}
        for at, (field, content) in enumerate(sent.get("files", ())):
            for changed in ((word, content), (field, word.encode()), (field, content[:40] + word.encode())):
                yield {"files": [*sent["files"][:at], changed, *sent["files"][at + 1 :]]}

    def _spoilt_bodies(self, body: Any, operation: str) -> Iterator[Any]:
        """The body with one thing changed: each value in turn, and one key too many in each object."""
        for steps in _places(body):
            names = [step for step in steps if isinstance(step, str)]
            word = self._word(names, f"{'.'.join(names)} in the body of {operation}")
            for value in (f"{word} Ä/%2F\u2028", [word], {word: word}):
                changed = copy.deepcopy(body)
                if not steps:
                    yield changed | {self._words.person(f"a key in the body of {operation}"): value}
                    continue
                inner = changed
                for step in steps[:-1]:
                    inner = inner[step]
                inner[steps[-1]] = value
                yield changed

    def _word(self, fields: list[str], place: str) -> str:
        return self._words.person(place) if LABELS.isdisjoint(fields) else self._words.label(place)

    def _send(
        self,
        method: str,
        where: str,
        *,
        by: str,
        query: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
        body: Any = None,
        metadata: Any = None,
        files: Files | None = None,
        content: str | None = None,
    ) -> httpx.Response:
        luggage = {name: self._words.person(f"header {name}") for name in _LUGGAGE}
        given: dict[str, Any] = {"json": body} if body is not None else {}
        if files is not None:
            given = {"data": {"metadata": json.dumps(metadata)}, "files": self._named(files)}
        if content is not None:
            given = {"content": content}
        request = self._http.build_request(
            method, where, params=query, headers=luggage | {"Authorization": f"Bearer {by}"} | (headers or {}), **given
        )
        answer = self._http.send(request)
        told = f"{answer.headers}".encode() + answer.content
        self.told.append(Told(f"{method} {where}", answer.status_code, told, f"{request.url} {body} {metadata}"))
        return answer

    def _named(self, files: Files) -> list[tuple[str, tuple[str, io.BytesIO, str]]]:
        name = self._words.person("name of a file")
        kind = f"image/{self._words.person('media type of a file')}"
        return [(field, (f"{name}.png", io.BytesIO(content), kind)) for field, content in files]


def _places(body: Any, *steps: str | int) -> Iterator[tuple[str | int, ...]]:
    """Where something stands in a JSON document: the document itself, its fields, the first item of its lists."""
    if body is None and not steps:
        return
    yield steps
    inner = body.items() if isinstance(body, dict) else list(enumerate(body))[:1] if isinstance(body, list) else ()
    for step, value in inner:
        yield from _places(value, *steps, step)
