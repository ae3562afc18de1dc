"""Bearer tokens of another identity provider, checked against the keys that it publishes (RFC 7519, RFC 9068)."""

import hashlib
from dataclasses import dataclass

import jwt

from service.registry.access.scopes import Scope
from service.settings import ServiceSettings

#: Asymmetric ones only, whatever `alg` a token's own header names.
_ALGORITHMS = ["RS256", "PS256", "ES256", "EdDSA"]
_SCOPES = {scope.value for scope in Scope}


@dataclass(frozen=True)
class Claims:
    """The claims of a token that the service uses."""

    tenant: str
    subject: str  # hashed: it may be an email address
    scopes: frozenset[Scope]


class JsonWebTokens:
    """Verifies tokens of the identity provider in the settings, whose keys are fetched from `jwks_url`."""

    def __init__(self, settings: ServiceSettings) -> None:
        assert settings.jwks_url is not None
        self._keys = jwt.PyJWKClient(settings.jwks_url, cache_keys=True, timeout=5)
        self._issuer = settings.jwt_issuer
        self._audience = settings.jwt_audience

    def read(self, token: str) -> Claims | None:
        """The claims of a token, or `None` if it is malformed, expired, or signed by another provider."""
        try:
            claims = jwt.decode(
                token,
                self._keys.get_signing_key_from_jwt(token),
                algorithms=_ALGORITHMS,
                issuer=self._issuer,
                audience=self._audience,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
            tenant, scopes = claims["tenant"], str(claims.get("scope", "")).split()
        except (jwt.PyJWTError, KeyError, ValueError):
            return None
        return Claims(
            tenant=str(tenant),
            subject=hashlib.sha256(f"{self._issuer} {claims['sub']}".encode()).hexdigest()[:32],
            scopes=frozenset(Scope(scope) for scope in scopes if scope in _SCOPES),
        )
