"""The discovery document and the certificate (sections 3.4, 4.1 and 6)."""

import httpx

from service.cli.opendsr.checks import expectations
from service.cli.opendsr.signatures import certificates, fault_of_key, is_for, is_trusted
from service.cli.opendsr.suite import must, should
from service.cli.opendsr.target import Missed, Skipped, Target

_TYPES = frozenset(
    {
        *("controller_customer_id", "android_advertising_id", "android_id", "email", "fire_advertising_id"),
        *("ios_advertising_id", "ios_vendor_id", "microsoft_advertising_id", "microsoft_publisher_id"),
        *("roku_publisher_id", "roku_advertising_id"),
    }
)
_FORMATS = frozenset({"raw", "sha1", "md5", "sha256"})
_REQUESTS = frozenset({"access", "portability", "erasure"})


@must("discovery-document", "6.3")
def document(target: Target) -> None:
    """It has every field, with values that the specification knows."""
    answer = target.call("GET", f"{target.prefix}/discovery")
    expectations.status(answer, 200)
    found = expectations.document(
        answer, "api_version", "supported_identities", "supported_subject_request_types", "processor_certificate"
    )
    identities = found["supported_identities"]
    if not isinstance(identities, list) or not identities:
        raise Missed("supported_identities is not a list of identities")
    for identity in identities:
        known = expectations.has(identity, ["identity_type", "identity_format"])
        if str(known["identity_type"]) not in _TYPES or str(known["identity_format"]) not in _FORMATS:
            raise Missed("supported_identities has one that sections 5.1 and 5.2 do not know")
    types = found["supported_subject_request_types"]
    if not isinstance(types, list) or not types or not _REQUESTS.issuperset(map(str, types)):
        raise Missed("supported_subject_request_types has one that section 6.2 does not know")


@must("discovery-version", "3.4")
def version(target: Target) -> None:
    """It is version 2, and its path says so."""
    expectations.status(target.call("GET", "/v2/discovery"), 200)
    if str(target.discovery.get("api_version")).partition(".")[0] != "2":
        raise Missed("api_version is not 2")


@should("discovery-is-open", "8.8")
def is_open(target: Target) -> None:
    """Whoever gets a callback can ask whose it is, without credentials."""
    expectations.status(target.call("GET", f"{target.prefix}/discovery", is_signed_in=False), 200)


@must("certificate", "6.3")
def certificate(target: Target) -> None:
    """It can be downloaded, and is good for signatures."""
    try:
        answer = target.http.get(str(target.discovery.get("processor_certificate")))
        expectations.status(answer, 200)
        leaf = certificates(answer.content)[0]
    except (ValueError, httpx.InvalidURL):
        raise Missed("processor_certificate leads to no X.509 certificate") from None
    fault = fault_of_key(leaf)
    if fault is not None:
        raise Missed(fault)


@must("certificate-host", "6.3")
def certificate_host(target: Target) -> None:
    """It is downloaded from the host that discovery is on."""
    try:
        host = httpx.URL(str(target.discovery.get("processor_certificate"))).host
    except httpx.InvalidURL:
        host = ""
    if host != target.http.base_url.host:
        raise Missed("processor_certificate is on another host than discovery")


@must("certificate-domain", "8.3")
def certificate_domain(target: Target) -> None:
    """It is issued for the host that requests are sent to."""
    if not is_for(target.certificates[0], target.http.base_url.host):
        raise Missed("the certificate is not for this host")


@must("certificate-authority", "4.1")
def authority(target: Target) -> None:
    """It is issued by an authority, and not by itself."""
    if target.is_self_signed_fine:
        raise Skipped("a self-signed certificate was said to be fine")
    if not is_trusted(target.certificates, target.http.base_url.host, target.authorities):
        raise Missed("no authority that is trusted has issued the certificate")
