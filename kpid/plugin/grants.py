"""How a token endpoint is asked for a token: the grants of OAuth 2. :class:`~kpid.plugin.auth.OAuth` sends them."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Protocol

from kpid.clock import Clock
from kpid.plugin.jwt import signed, thumbprint
from kpid.plugin.keeping import Keep, bound
from kpid.plugin.settings import Secret

BY_ASSERTION = "urn:ietf:params:oauth:grant-type:jwt-bearer"
CLIENT_BY_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class Grant(Protocol):
    """The fields that ask a token endpoint for a token, and what to keep of its answer."""

    def form(self) -> Mapping[str, str]:
        """The request's form fields. Asked for every request."""

    def keep(self, answer: Mapping[str, object]) -> None:
        """Take from an answer what the next request needs."""

    def secrets(self) -> tuple[str, ...]:
        """The texts that must never be shown."""


class ClientCredentials:
    """OAuth 2 for a program of its own: client id and secret."""

    def __init__(self, client_id: str, client_secret: Secret, *, scope: str = "") -> None:
        self._form = {
            "grant_type": "client_credentials",
            "client_id": client_id,
            "client_secret": client_secret.get_secret_value(),
        }
        if scope:
            self._form["scope"] = scope

    def form(self) -> Mapping[str, str]:
        """The request's form fields."""
        return self._form

    def keep(self, answer: Mapping[str, object]) -> None:
        """Nothing to keep: the next token is had in the same way."""

    def secrets(self) -> tuple[str, ...]:
        """The client's secret."""
        return (self._form["client_secret"],)


class RefreshToken:
    """OAuth 2 on behalf of a user who agreed once.

    Args:
        client_id: the application's id.
        client_secret: the application's secret.
        refresh_token: what the user's consent gave.
        on_rotated: called with a new refresh token **before** the access token that came with it is used: some servers void the
            old one at once, so it has to be stored first.
        keep: where a rotated token outlives this sync: it is looked at before every request, for another process may have
            rotated too, and forgotten when another ``refresh_token`` is configured.
    """

    def __init__(
        self,
        client_id: str,
        client_secret: Secret,
        refresh_token: Secret,
        *,
        on_rotated: Callable[[Secret], None] | None = None,
        keep: Keep | None = None,
    ) -> None:
        self._client_id = client_id
        self._client_secret = client_secret
        self._configured = refresh_token
        self._refresh_token = refresh_token
        self._on_rotated = on_rotated
        self._keep = keep

    def form(self) -> Mapping[str, str]:
        """The request's form fields, with the newest refresh token."""
        if self._keep is not None:
            self._refresh_token = self._keep.get(self._name) or self._refresh_token
        return {
            "grant_type": "refresh_token",
            "client_id": self._client_id,
            "client_secret": self._client_secret.get_secret_value(),
            "refresh_token": self._refresh_token.get_secret_value(),
        }

    def keep(self, answer: Mapping[str, object]) -> None:
        """Keep a refresh token that replaces ours."""
        new = answer.get("refresh_token")
        if isinstance(new, str) and new and new != self._refresh_token.get_secret_value():
            self._refresh_token = Secret(new)
            if self._keep is not None:
                self._keep.put(self._name, self._refresh_token)
            if self._on_rotated:
                self._on_rotated(self._refresh_token)

    def secrets(self) -> tuple[str, ...]:
        """The client's secret and the refresh tokens."""
        known = (self._client_secret, self._configured, self._refresh_token)
        return tuple(dict.fromkeys(secret.get_secret_value() for secret in known))

    @property
    def _name(self) -> str:
        return bound("refresh_token", self._configured)


class _Signing:
    """What grants by signed claims share."""

    def __init__(self, key: Secret, clock: Clock, life: timedelta, headers: Mapping[str, str]) -> None:
        self._key = key
        self._clock = clock
        self._life = life
        self._headers = headers

    def keep(self, answer: Mapping[str, object]) -> None:
        """Nothing to keep: the next token is had by signing again."""

    def secrets(self) -> tuple[str, ...]:
        """The private key, as a whole and line by line."""
        text = self._key.get_secret_value()
        return (text, *(line for line in text.splitlines() if line and not line.startswith("-----")))

    def _assertion(self, claims: Mapping[str, Any]) -> str:
        now = int(self._clock.now().timestamp())
        times = {"iat": now, "nbf": now, "exp": now + int(self._life.total_seconds())}
        return signed({**claims, **times, "jti": str(uuid.uuid4())}, self._key, headers=self._headers)


class JwtBearer(_Signing):
    """OAuth 2 on behalf of a user, by claims that the application signs (RFC 7523, section 2.1).

    Args:
        issuer: the application's id.
        subject: the user to act for.
        audience: the server that is asked.
        key: the application's private key in PEM.
        clock: says when the claims expire.
        life: how long they hold.
    """

    def __init__(
        self, issuer: str, subject: str, audience: str, key: Secret, clock: Clock, *, life: timedelta = timedelta(minutes=3)
    ) -> None:
        super().__init__(key, clock, life, {})
        self._claims = {"iss": issuer, "sub": subject, "aud": audience}

    def form(self) -> Mapping[str, str]:
        """The request's form fields, freshly signed."""
        return {"grant_type": BY_ASSERTION, "assertion": self._assertion(self._claims)}


class ClientAssertion(_Signing):
    """OAuth 2 for a program of its own that proves itself by a certificate (RFC 7523, section 2.2).

    Args:
        client_id: the application's id.
        audience: the token endpoint's address.
        key: the certificate's private key in PEM.
        clock: says when the claims expire.
        certificate: the certificate in PEM, whose thumbprint goes along; empty = none.
        scope: what is asked for.
        life: how long the claims hold.
    """

    def __init__(
        self,
        client_id: str,
        audience: str,
        key: Secret,
        clock: Clock,
        *,
        certificate: str = "",
        scope: str = "",
        life: timedelta = timedelta(minutes=5),
    ) -> None:
        super().__init__(key, clock, life, {"x5t": thumbprint(certificate)} if certificate else {})
        self._client_id = client_id
        self._audience = audience
        self._scope = scope

    def form(self) -> Mapping[str, str]:
        """The request's form fields, freshly signed."""
        claims = {"iss": self._client_id, "sub": self._client_id, "aud": self._audience}
        form = {
            "grant_type": "client_credentials",
            "client_id": self._client_id,
            "client_assertion_type": CLIENT_BY_ASSERTION,
            "client_assertion": self._assertion(claims),
        }
        return {**form, "scope": self._scope} if self._scope else form
