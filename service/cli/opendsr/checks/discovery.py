"""The discovery document and the certificate (sections 3.4, 4.1 and 6)."""

import httpx

from service.cli.opendsr.checks import expectations
from service.cli.opendsr.signatures import certificates, fault_of_key, is_issued_for, is_trusted
from service.cli.opendsr.suite import must, should
from service.cli.opendsr.target import CheckFailed, CheckSkipped, Target

_IDENTITY_TYPES = frozenset(
    {
        *("controller_customer_id", "android_advertising_id", "android_id", "email", "fire_advertising_id"),
        *("ios_advertising_id", "ios_vendor_id", "microsoft_advertising_id", "microsoft_publisher_id"),
        *("roku_publisher_id", "roku_advertising_id"),
    }
)
_IDENTITY_FORMATS = frozenset({"raw", "sha1", "md5", "sha256"})
_REQUEST_TYPES = frozenset({"access", "portability", "erasure"})


@must("discovery-document", "6.3")
def document(target: Target) -> None:
    """The discovery document has every field, with values of the specification."""
    response = target.call("GET", f"{target.prefix}/discovery")
    expectations.status(response, 200)
    discovery = expectations.document(
        response, "api_version", "supported_identities", "supported_subject_request_types", "processor_certificate"
    )
    identities = discovery["supported_identities"]
    if not isinstance(identities, list) or not identities:
        raise CheckFailed("supported_identities is not a list of identities")
    for identity in identities:
        fields = expectations.has(identity, ["identity_type", "identity_format"])
        kind, form = str(fields["identity_type"]), str(fields["identity_format"])
        if kind not in _IDENTITY_TYPES or form not in _IDENTITY_FORMATS:
            raise CheckFailed("supported_identities has one that sections 5.1 and 5.2 do not know")
    types = discovery["supported_subject_request_types"]
    if not isinstance(types, list) or not types or not _REQUEST_TYPES.issuperset(map(str, types)):
        raise CheckFailed("supported_subject_request_types has one that section 6.2 does not know")


@must("discovery-version", "3.4")
def version(target: Target) -> None:
    """The API is version 2, under the path /v2."""
    expectations.status(target.call("GET", "/v2/discovery"), 200)
    if str(target.discovery.get("api_version")).partition(".")[0] != "2":
        raise CheckFailed("api_version is not 2")


@should("discovery-is-open", "8.8")
def is_open(target: Target) -> None:
    """Discovery needs no credentials, so that receivers of callbacks can fetch the certificate."""
    expectations.status(target.call("GET", f"{target.prefix}/discovery", is_authenticated=False), 200)


@must("certificate", "6.3")
def certificate(target: Target) -> None:
    """The certificate can be downloaded, and its key is valid for signatures."""
    try:
        response = target.http.get(str(target.discovery.get("processor_certificate")))
        expectations.status(response, 200)
        leaf = certificates(response.content)[0]
    except (ValueError, httpx.InvalidURL):
        raise CheckFailed("processor_certificate leads to no X.509 certificate") from None
    fault = fault_of_key(leaf)
    if fault is not None:
        raise CheckFailed(fault)


@must("certificate-host", "6.3")
def certificate_host(target: Target) -> None:
    """The certificate is on the host that discovery is on."""
    try:
        host = httpx.URL(str(target.discovery.get("processor_certificate"))).host
    except httpx.InvalidURL:
        host = ""
    if host != target.http.base_url.host:
        raise CheckFailed("processor_certificate is on another host than discovery")


@must("certificate-domain", "8.3")
def certificate_domain(target: Target) -> None:
    """The certificate is issued for the host that requests are sent to."""
    if not is_issued_for(target.certificates[0], target.http.base_url.host):
        raise CheckFailed("the certificate is not for this host")


@must("certificate-authority", "4.1")
def authority(target: Target) -> None:
    """The certificate is issued by a trusted authority."""
    if target.allow_self_signed:
        raise CheckSkipped("a self-signed certificate was said to be fine")
    if not is_trusted(target.certificates, target.http.base_url.host, target.authorities):
        raise CheckFailed("no authority that is trusted has issued the certificate")
