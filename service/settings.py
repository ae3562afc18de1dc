"""What the HTTP service needs to know beyond the registry."""

from typing import Self

from pydantic import Field, model_validator

from service.registry.settings import RegistrySettings


class ServiceSettings(RegistrySettings):
    """Where it listens, and how much one request may bring."""

    host: str = "127.0.0.1"
    """Address to listen on."""

    port: int = Field(default=8000, ge=0, le=65535)
    """Port to listen on; 0 takes a free one."""

    max_upload_bytes: int = Field(default=2 * 1024**3, ge=1024)
    """Largest request body, and largest archive once unpacked, in bytes."""

    max_images: int = Field(default=1024, ge=1)
    """How many images one deletion request may bring, and how many files any request."""

    max_evaluation_images: int = Field(default=100_000, ge=1)
    """How many images one evaluation set may hold; more than `max_images` come as a zip or npz."""

    max_image_pixels: int = Field(default=16_000_000, ge=1)
    """Largest image, in pixels. It is known from the header, before anything is decoded."""

    rate_limit: int = Field(default=6000, ge=0)
    """Requests a minute that one caller may make; 0 = any number. Shared by all processes where there is a broker."""

    jwks_url: str | None = None
    """Where an identity provider publishes the keys of its tokens. Default: API keys only."""

    jwt_issuer: str | None = None
    """The `iss` that tokens must have."""

    jwt_audience: str | None = None
    """The `aud` that tokens must have."""

    webhook_private: bool = False
    """Whether callbacks may go to private addresses, and over plain HTTP. For development."""

    @model_validator(mode="after")
    def _tokens_are_for_us(self) -> Self:
        if self.jwks_url and not (self.jwt_issuer and self.jwt_audience):
            raise ValueError("jwks_url needs jwt_issuer and jwt_audience: a token for somebody else must not do here")
        return self
