"""Signatures, addresses, and single POSTs to servers that behave badly."""

import base64
import datetime
import socket
import ssl
import threading
import time
from contextlib import contextmanager

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from service.webhooks import addresses, http_post
from service.webhooks.signatures import shown_secret, signed_headers
from tests.service.cli.scripted_server import Answer, script, scripted

NOT_PUBLIC = [
    *("127.0.0.1", "10.0.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1", "240.0.0.1"),
    *("[::1]", "[::]", "[fe80::1]", "[fc00::1]", "[fec0::1]", "[ff0e::1]", "[::ffff:127.0.0.1]", "[::127.0.0.1]"),
    *("[64:ff9b::10.0.0.1]", "[2002:7f00:1::]"),
]


def answering(*found):
    """A resolver that has these addresses for every name."""

    def getaddrinfo(host, port, *_, **__):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    return getaddrinfo


def post(url, *, private=True, tls=None, body=b"{}"):
    return http_post.post(url, {"webhook-id": "msg_1"}, body, private=private, tls=tls or ssl.create_default_context())


def test_a_signature_is_the_one_of_the_reference_libraries():
    """The known answer in the tests of github.com/standard-webhooks/standard-webhooks, libraries/python."""
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = signed_headers(
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
        secrets=[secret],
        private_key=bytes(32),
    )
    assert headers["webhook-signature"].startswith("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE= v1a,")
    assert shown_secret(secret) == "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.mark.parametrize(
    "url",
    [
        *("http://example.com/", "ftp://example.com/", "example.com", "//example.com/", "https://", "https:///x", "\0"),
        *("https://user:password@example.com/", "https://user@example.com/", "https://example.com/#x"),
        *("https://example.com:0/", "https://example.com:65536/", "https://example.com:x/", "https://ex ample.com/"),
        *("https://localhost/", "https://localhost./", "https://a.localhost/", "https://[fe80::1%25eth0]/"),
        *(f"https://{address}/" for address in NOT_PUBLIC),
    ],
)
def test_some_urls_are_not_taken(url):
    """What can be seen to lead inside, in the clear or nowhere; the message does not repeat it."""
    with pytest.raises(addresses.NotAllowed) as refusal:
        addresses.check(url, private=False)
    assert "example" not in str(refusal.value)


@pytest.mark.parametrize(
    "url",
    ["https://example.com/a?b=c", "https://bücher.example:8443", "https://8.8.8.8/", "https://[2606:4700::1111]/"],
)
def test_others_are(url):
    """Names in any script, ports, public addresses."""
    assert addresses.check(url, private=False).scheme == "https"


@pytest.mark.parametrize("url", ["http://localhost:1234/", "http://127.0.0.1/", "https://[::1]:8443/x"])
def test_a_developer_may_have_private_ones(url):
    """With STRUCTGUARD_WEBHOOK_PRIVATE, and still no credentials."""
    addresses.check(url, private=True)
    with pytest.raises(addresses.NotAllowed):
        addresses.check(url.replace("://", "://user:password@"), private=True)


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_a_name_leads_nowhere_if_any_of_its_addresses_is_private(monkeypatch, address):
    """Whoever runs the DNS of a name decides which of its addresses is taken."""
    monkeypatch.setattr(socket, "getaddrinfo", answering("8.8.8.8", address.strip("[]")))
    assert post("https://innocent.example/", private=False).error == "not_allowed"


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "127.1", "0177.0.0.1"])
def test_the_resolver_s_other_spellings_of_addresses_are_seen_through(host):
    """What counts is what it makes of them."""
    assert post(f"https://{host}/", private=False).error == "not_allowed"


def test_a_setting_that_was_taken_back_holds_for_what_was_registered_under_it():
    """The URL is checked at each POST."""
    with scripted(script(Answer(b""))) as (url, seen):
        assert post(url, private=False).error == "not_allowed"
    assert seen == []


@pytest.mark.parametrize("host", ["nowhere.invalid", "a..b", "a" * 64])
def test_a_host_that_does_not_exist_is_an_outcome(monkeypatch, host):
    """And so is a name that can be none."""
    ask = socket.getaddrinfo

    def getaddrinfo(name, *more, **named):
        if name == "nowhere.invalid":
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return ask(name, *more, **named)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    assert post(f"http://{host}/").error == "unknown_host"


def test_a_name_is_resolved_once_and_its_other_addresses_are_tried(monkeypatch):
    """A second answer, which could be another one, is never asked for; nothing listens at the first address."""
    asked = []

    def getaddrinfo(host, port, *_, **__):
        asked.append(host)
        return answering("127.0.0.2", "127.0.0.1")(host, port)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with scripted(script(Answer(b"thanks"))) as (url, seen):
        port = url.rpartition(":")[2]
        assert post(f"http://hooks.example:{port}/in?x=1").status == 200
    assert asked == ["hooks.example"]
    assert (seen[0].path, seen[0].headers["Host"]) == ("/in?x=1", f"hooks.example:{port}")


def test_nobody_listens():
    """Connection refused."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert post(f"http://127.0.0.1:{port}/").error == "connection"


@contextmanager
def raw_server(serve, wrap=lambda connection: connection):
    """One connection, handed to `serve`."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def run():
            connection, _ = listening.accept()
            try:
                with wrap(connection) as served:
                    serve(served)
            except OSError:
                connection.close()

        thread = threading.Thread(target=run)
        thread.start()
        yield listening.getsockname()[1]
        thread.join()


def read(connection):
    """The whole request: closing with something unread would take back what was answered."""
    seen = b""
    while not seen.endswith(b"{}"):
        seen += connection.recv(1 << 16) or b"{}"  # it has gone


def test_a_server_that_answers_byte_by_byte_is_left(monkeypatch):
    """The time is limited as a whole; a limit between two bytes would never be reached."""
    monkeypatch.setattr(http_post, "TIMEOUT", 0.3)

    def drip(connection):
        for byte in b"HTTP/1.1 200 OK\r\n" * 1000:
            connection.sendall(bytes([byte]))
            time.sleep(0.05)

    with raw_server(drip) as port:
        outcome = post(f"http://127.0.0.1:{port}/")
    assert outcome.error == "timeout"
    assert 250 <= outcome.milliseconds < 3000


def test_of_an_endless_answer_little_is_read():
    """The status is known by then."""
    sent = 0

    def flood(connection):
        nonlocal sent
        read(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        for _ in range(1000):
            sent += connection.send(bytes(100_000))

    with raw_server(flood) as port:
        assert post(f"http://127.0.0.1:{port}/").status == 200
    assert sent < 50_000_000  # the rest is in the buffers of the system


def test_an_answer_that_stops_half_way_counts_by_its_status(monkeypatch):
    """Of the rest nothing is needed."""
    monkeypatch.setattr(http_post, "_DRAIN_TIMEOUT", 0.2)

    def stop(connection):
        read(connection)
        connection.sendall(b"HTTP/1.1 202 Accepted\r\nContent-Length: 10\r\n\r\nabc")
        connection.recv(1)  # until the other side has enough

    with raw_server(stop) as port:
        assert post(f"http://127.0.0.1:{port}/").status == 202


def test_what_is_not_http_is_an_outcome():
    """And no exception."""

    def mumble(connection):
        read(connection)
        connection.sendall(b"220 mail.example ESMTP\r\n")

    with raw_server(mumble) as port:
        assert post(f"http://127.0.0.1:{port}/").error == "connection"


@pytest.fixture
def certificate(tmp_path):
    """A self-signed one for hooks.example: the file of the certificate, and the server's context."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "hooks.example")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("hooks.example")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path / "hooks.pem"
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(pem + made.public_bytes(Encoding.PEM))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(file)
    return file, server


@pytest.mark.parametrize(("host", "expected"), [("hooks.example", (204, None)), ("other.example", (None, "tls"))])
def test_the_certificate_has_to_be_the_name_s(monkeypatch, certificate, host, expected):
    """Although the connection goes to an address."""
    file, server = certificate
    named = []
    server.sni_callback = lambda _, name, __: named.append(name)
    monkeypatch.setattr(socket, "getaddrinfo", answering("127.0.0.1"))

    def serve(connection):
        read(connection)
        connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    with raw_server(serve, lambda connection: server.wrap_socket(connection, server_side=True)) as port:
        outcome = post(f"https://{host}:{port}/", tls=ssl.create_default_context(cafile=file))
    assert (outcome.status, outcome.error) == expected
    assert named == [host]


@pytest.mark.parametrize(
    ("status", "text", "seconds"),
    [
        (503, "120", 120),
        (429, "9" * 30, 999_999_999),
        (502, "Fri, 31 Dec 1999 23:59:59 GMT", 0),
        (504, "soon", None),
        (503, "Mon, 99 Nov 2026 00:00:00 GMT", None),
        (500, "120", None),
        (503, "-1", None),
    ],
)
def test_an_endpoint_says_how_long_it_needs(status, text, seconds):
    """In seconds or as a date, where it is overloaded or away."""
    with scripted(script(Answer(b"", status, {"Retry-After": text}))) as (url, _):
        outcome = post(url)
    assert outcome.status == status
    assert outcome.retry_after == (None if seconds is None else datetime.timedelta(seconds=seconds))


def test_a_proxy_of_the_environment_is_not_asked(monkeypatch):
    """It would resolve the name itself."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    with scripted(script(Answer(b""))) as (url, _):
        assert post(url).status == 200
