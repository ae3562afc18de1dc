"""HTTP client of the service: retries while the server is unreachable or busy, raises where it refuses."""

import email.utils
import itertools
import json
import os
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, BinaryIO, Self

import httpx

from service.cli.exits import CommandError, Refused, Unreachable

API_KEY = "STRUCTGUARD_API_KEY"
"""The environment variable with the key: an option would show it to everybody who lists processes."""

_BUSY = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})
_IN_FLIGHT = "/problems/idempotency-key-in-flight"  # an earlier try, whose connection broke, is still worked on
_BUSY_PATIENCE = 60.0  # seconds to wait for a server that says it will be back
_LONGEST_PAUSE = 5.0  # seconds between two tries, unless the server names a time
_READ_TIMEOUT = 300.0  # seconds: after an upload the server looks at every byte before it answers
_CONNECT_TIMEOUT = 5.0  # seconds

#: (field, (file name, content, media type)), as httpx wants them. Open files are streamed.
Files = Sequence[tuple[str, tuple[str, BinaryIO | bytes, str]]]


class Client:
    """A connection to one server, by default with the API key of the environment.

    `patience` is how long, in seconds, reading and creating are tried again while nobody answers.
    """

    def __init__(self, server: str, *, patience: float = 2.0, api_key: str | None = None) -> None:
        api_key = api_key or os.environ.get(API_KEY)
        self.server = server.rstrip("/")
        self._patience = patience
        url = httpx.URL(self.server)
        self._http = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
            timeout=httpx.Timeout(_READ_TIMEOUT, connect=_CONNECT_TIMEOUT),
            # A company's proxy cannot reach a server on this machine.
            trust_env=url.host not in {"127.0.0.1", "localhost", "::1"},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def get(self, path: str, **query: str | int) -> dict[str, Any]:
        """GET a JSON document."""
        with self.stream(path, query=query) as response:
            return _document(response)

    def post(self, path: str) -> dict[str, Any]:
        """POST without a body; the JSON of the response. Not tried again."""
        # Without a response it is unknown whether the server has acted.
        try:
            response = self._http.post(path)
        except httpx.TransportError as error:
            raise self._unreachable(error) from error
        if response.status_code >= 400:
            raise self._failure(response)
        return _document(response)

    def put(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """PUT a JSON body; the JSON of the response."""
        return _document(self._send_with_retries(self._http.build_request("PUT", path, json=body), read_body=True))

    def create(self, path: str, body: Mapping[str, Any], files: Files = ()) -> dict[str, Any]:
        """POST JSON, or a multipart form if there are files; the JSON of the response.

        Tried again while the server is away or busy: the `Idempotency-Key` keeps it from acting twice.
        """
        content: dict[str, Any] = {"data": {"metadata": json.dumps(body)}, "files": files} if files else {"json": body}
        request = self._http.build_request("POST", path, headers={"Idempotency-Key": str(uuid.uuid4())}, **content)
        return _document(self._send_with_retries(request, read_body=True))

    @contextmanager
    def stream(
        self, path: str, *, query: Mapping[str, str | int] | None = None, headers: Mapping[str, str] | None = None
    ) -> Iterator[httpx.Response]:
        """GET, tried again while the server is away or busy; the body is read by the caller.

        Raises:
            Unreachable: nobody answered in time.
            Refused: the answer is a 4xx.
        """
        request = self._http.build_request("GET", path, params=query, headers=headers)
        response = self._send_with_retries(request)
        try:
            yield response
        finally:
            response.close()

    def _send_with_retries(self, request: httpx.Request, *, read_body: bool = False) -> httpx.Response:
        """Send a request, again while the server is away or busy; with `read_body` the body has been read, too."""
        failed_at = None  # the first time: what an upload takes is no waiting
        for attempt in itertools.count():
            pause = min(0.2 * 2**attempt, _LONGEST_PAUSE)
            try:
                response = self._http.send(request, stream=not read_body)
            except httpx.TransportError as error:
                patience, failure = self._patience, self._unreachable(error)
            else:
                if response.status_code < 400:
                    return response
                failure = self._failure(response)
                if response.status_code not in _BUSY and failure.problem["type"] != _IN_FLIGHT:
                    raise failure
                patience = _BUSY_PATIENCE
                pause = retry_after(response.headers.get("Retry-After"), datetime.now(UTC), default=pause)
            failed_at = failed_at or time.monotonic()
            if time.monotonic() - failed_at + pause > patience:
                raise failure
            time.sleep(pause)
        raise AssertionError

    def _unreachable(self, error: httpx.TransportError) -> CommandError:
        return Unreachable(f"{self.server} does not answer.", str(error) or type(error).__name__)

    def _failure(self, response: httpx.Response) -> CommandError:
        problem = _problem(response)
        if response.status_code == HTTPStatus.SERVICE_UNAVAILABLE:
            return Unreachable(**problem)
        return Refused(**problem) if response.status_code < 500 else CommandError(**problem)


def retry_after(value: str | None, now: datetime, *, default: float) -> float:
    """Seconds to wait, from a `Retry-After` that holds seconds or a date (RFC 9110, section 10.2.3)."""
    if value is None:
        return default
    if value.isdecimal():
        return float(value)
    try:
        return max(0.0, (email.utils.parsedate_to_datetime(value) - now).total_seconds())
    except (ValueError, TypeError):  # no date, or one without a zone
        return default


def _document(response: httpx.Response) -> dict[str, Any]:
    try:
        document = json.loads(response.read())
    except ValueError:
        document = None
    except httpx.TransportError as error:
        raise Unreachable("The connection broke while the server answered.", str(error)) from error
    if not isinstance(document, dict):
        raise CommandError("This server is no StructGuard service.", f"{response.url} did not answer with JSON.")
    return document


def _problem(response: httpx.Response) -> dict[str, Any]:
    """The RFC 9457 problem of a response; one made of its status where the body holds none, as with a proxy's."""
    try:
        document = json.loads(response.read())
    except (ValueError, httpx.TransportError):
        document = None
    status = response.status_code
    fallback = {"type": "about:blank", "title": f"HTTP {status} {response.reason_phrase}", "detail": "", "errors": []}
    return fallback | (document if isinstance(document, dict) else {}) | {"status": status}
