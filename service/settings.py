"""Settings of the HTTP service, in addition to those of the registry."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

import fsspec
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, StringConstraints, model_validator
from pydantic_settings import NoDecode

from service.registry.settings import RegistrySettings, split_commas


def _installed(schemes: frozenset[str]) -> frozenset[str]:
    for scheme in schemes:
        try:
            fsspec.get_filesystem_class(scheme)
        except ImportError as error:  # better now than at the first deletion request
            raise ValueError(f"`{scheme}` takes another package: {error}") from error
    return schemes


def _origin(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path or parts.query or "#" in url:
        raise ValueError("must be scheme, host and perhaps port, such as https://dsr.example.com")
    return url


Identity = Annotated[str, StringConstraints(pattern="^[a-z_]+:(raw|sha1|md5|sha256)$")]
"""A kind of identity, by type and format (OpenDSR 2.0, sections 5.1 and 5.2)."""

Scheme = Literal["file", "s3", "gs", "az", "abfs"]
"""URI schemes that images may be fetched by: file stores only. `http` would let a manifest make the service call any
address (SSRF)."""


class ServiceSettings(RegistrySettings):
    """Address, limits, identity provider, callbacks and OpenDSR. A wrong setting raises `pydantic.ValidationError`."""

    host: str = "127.0.0.1"
    """Address to listen on."""

    port: int = Field(default=8000, ge=0, le=65535)
    """Port to listen on; 0 takes a free one."""

    trusted_proxies: str = "127.0.0.1"
    """Addresses and networks, with commas between, whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed."""

    audit_interval: timedelta = Field(default=timedelta(seconds=1), gt=timedelta(0))
    """How often pending events are chained in the audit log."""

    max_upload_bytes: int = Field(default=2 * 1024**3, ge=1024)
    """Largest request body, and largest archive once unpacked, in bytes."""

    max_concurrent_uploads: int = Field(default=32, ge=1)
    """How many uploads one process receives and works on at once."""

    upload_idle_timeout: timedelta = Field(default=timedelta(seconds=60), gt=timedelta(0))
    """How long an upload may send nothing."""

    max_queued_requests: int = Field(default=10_000, ge=0)
    """How many deletion requests of one tenant may wait at once for a worker or an approval; 0 = any number. Those that
    come at the same moment, or by one OpenDSR request, may pass it by a few."""

    max_images: int = Field(default=1024, ge=1)
    """How many images one deletion request may bring, and how many files any request."""

    max_evaluation_images: int = Field(default=100_000, ge=1)
    """How many images one evaluation set may hold; more than `max_images` come as a zip or npz."""

    max_image_pixels: int = Field(default=16_000_000, ge=1)
    """Largest image, in pixels. It is known from the header, before anything is decoded."""

    max_manifest_rows: int = Field(default=100_000, ge=1)
    """How many rows one training manifest may have; a version may have several. They are written in one transaction,
    and on SQLite nobody else writes meanwhile: these take seconds, a worker's heartbeat waits for 20 at most."""

    max_manifest_bytes: int = Field(default=256 * 1024**2, ge=1)
    """Largest training manifest, uncompressed, in bytes."""

    manifest_schemes: Annotated[
        frozenset[Scheme], NoDecode, BeforeValidator(split_commas), AfterValidator(_installed)
    ] = frozenset()
    """Schemes of the URIs in manifests that images are fetched from, with commas between. Default: nothing is."""

    manifest_root: Path | None = None
    """The folder below which `file` URIs may lie."""

    rate_limit: int = Field(default=6000, ge=0)
    """Requests a minute that one caller may make; 0 = any number. Shared by all processes where there is a broker."""

    jwks_url: str | None = None
    """Where an identity provider publishes the keys of its tokens. Default: API keys only."""

    jwt_issuer: str | None = None
    """The `iss` that tokens must have."""

    jwt_audience: str | None = None
    """The `aud` that tokens must have."""

    dashboard_session: timedelta = Field(default=timedelta(hours=12), gt=timedelta(0))
    """How long somebody who signs in to the dashboard stays signed in."""

    webhook_private: bool = False
    """Whether callbacks may go to private addresses, and over plain HTTP. For development."""

    metrics_token: SecretStr | None = None
    """What Prometheus sends as a bearer token to `/metrics`. Default: only callers on this machine may read them."""

    opendsr_url: Annotated[str, AfterValidator(_origin)] | None = None
    """Public address of the OpenDSR endpoints, such as `https://dsr.example.com`; its host is the processor's domain.
    Default: whatever address the service is asked under, and the domain `localhost`."""

    opendsr_key: Path | None = None
    """PEM file with the RSA key that signs OpenDSR answers. Default: one is made, and kept in the data folder."""

    opendsr_certificate: Path | None = None
    """PEM file with the certificate of `opendsr_key`, and those that it was issued by. Default: self-signed."""

    opendsr_identities: Annotated[frozenset[Identity], NoDecode, BeforeValidator(split_commas)] = Field(
        default=frozenset({"controller_customer_id:raw"}), min_length=1
    )
    """What the `subject_id` of training manifests may be, as OpenDSR identities `type:format` with commas between."""

    @property
    def opendsr_domain(self) -> str:
        """The processor's domain."""
        return (self.opendsr_url and urlsplit(self.opendsr_url).hostname) or "localhost"

    @model_validator(mode="after")
    def _opendsr_key_has_a_certificate(self) -> Self:
        if bool(self.opendsr_key) != bool(self.opendsr_certificate):
            raise ValueError("opendsr_key and opendsr_certificate go together")
        return self

    @model_validator(mode="after")
    def _files_have_a_root(self) -> Self:
        if "file" in self.manifest_schemes and self.manifest_root is None:
            raise ValueError("the scheme `file` needs manifest_root: this machine has files that are nobody's images")
        return self

    @model_validator(mode="after")
    def _tokens_have_issuer_and_audience(self) -> Self:
        if self.jwks_url and not (self.jwt_issuer and self.jwt_audience):
            raise ValueError("jwks_url needs jwt_issuer and jwt_audience: a token for somebody else must not do here")
        return self
