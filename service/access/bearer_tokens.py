"""Bearer tokens of another identity provider, checked against the keys that it publishes (RFC 7519, RFC 9068)."""

import hashlib
from dataclasses import dataclass

import jwt

from service.registry.access.scopes import Scope
from service.settings import ServiceSettings

#: Asymmetric ones only, whatever a token says of itself.
_ALGORITHMS = ["RS256", "PS256", "ES256", "EdDSA"]
_SCOPES = {scope.value for scope in Scope}


@dataclass(frozen=True)
class Claims:
    """What a token says."""

    tenant: str
    subject: str  # hashed: it may be an address
    scopes: frozenset[Scope]


class JsonWebTokens:
    """Reads the tokens of the provider that the settings name."""

    def __init__(self, settings: ServiceSettings) -> None:
        assert settings.jwks_url is not None
        self._keys = jwt.PyJWKClient(settings.jwks_url, cache_keys=True, timeout=5)
        self._issuer = settings.jwt_issuer
        self._audience = settings.jwt_audience

    def read(self, token: str) -> Claims | None:
        """The claims of a token that is good now; nothing, if it is not."""
        try:
            found = jwt.decode(
                token,
                self._keys.get_signing_key_from_jwt(token),
                algorithms=_ALGORITHMS,
                issuer=self._issuer,
                audience=self._audience,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
            tenant, scopes = found["tenant"], str(found.get("scope", "")).split()
        except (jwt.PyJWTError, KeyError, ValueError):
            return None
        return Claims(
            tenant=str(tenant),
            subject=hashlib.sha256(f"{self._issuer} {found['sub']}".encode()).hexdigest()[:32],
            scopes=frozenset(Scope(scope) for scope in scopes if scope in _SCOPES),
        )
