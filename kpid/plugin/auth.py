"""Proofs of who we are, as little objects that :class:`~kpid.plugin.client.HttpClient` asks for headers before every request."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Protocol

from pydantic import SecretStr

from kpid.clock import Clock
from kpid.errors import AuthError, ConnectorError
from kpid.plugin.client import HttpClient
from kpid.plugin.reply import HttpFailure, Response

EARLY = timedelta(seconds=60)
"""Tokens are renewed so long before they expire."""


class _FixedAuth:
    """Credentials that cannot be renewed without a person."""

    def __init__(self, headers: Mapping[str, str], *secrets: str) -> None:
        self._headers = dict(headers)
        self._texts = tuple(secret for secret in secrets if secret)

    def headers(self) -> Mapping[str, str]:
        """The same for every request."""
        return self._headers

    def refresh(self) -> bool:
        """Nothing to renew."""
        return False

    def secrets(self) -> tuple[str, ...]:
        """The texts that must never be shown."""
        return self._texts


class BearerAuth(_FixedAuth):
    """``Authorization: Bearer <token>`` with a token that stays."""

    def __init__(self, token: SecretStr) -> None:
        text = _header_safe(token.get_secret_value())
        super().__init__({"Authorization": f"Bearer {text}"}, text)


class HeaderAuth(_FixedAuth):
    """A secret in a header of the vendor's own name (``X-Api-Key``)."""

    def __init__(self, header: str, secret: SecretStr) -> None:
        text = _header_safe(secret.get_secret_value())
        super().__init__({header: text}, text)


class BasicAuth(_FixedAuth):
    """User name and password."""

    def __init__(self, user: str, password: SecretStr) -> None:
        text = password.get_secret_value()
        pair = base64.b64encode(f"{user}:{text}".encode()).decode()
        super().__init__({"Authorization": f"Basic {pair}"}, text, pair)


def _header_safe(secret: str) -> str:
    """A secret that fits into a header. One pasted with a line break would break every request with an obscure message."""
    text = secret.strip()
    if not text or not text.isascii() or not text.isprintable():
        raise AuthError(
            "the token is empty or holds characters that no token has", hint="Look at the file or variable it comes from"
        )
    return text


class Grant(Protocol):
    """The fields that ask a token endpoint for a token, and what to keep of its answer."""

    def form(self) -> Mapping[str, str]:
        """The request's form fields."""

    def keep(self, answer: Mapping[str, object]) -> None:
        """Take from an answer what the next request needs."""

    def secrets(self) -> tuple[str, ...]:
        """The texts that must never be shown."""


class ClientCredentials:
    """OAuth 2 for a program of its own: client id and secret."""

    def __init__(self, client_id: str, client_secret: SecretStr, *, scope: str = "") -> None:
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
    """

    def __init__(
        self,
        client_id: str,
        client_secret: SecretStr,
        refresh_token: SecretStr,
        *,
        on_rotated: Callable[[SecretStr], None] | None = None,
    ) -> None:
        self._client_id = client_id
        self._client_secret = client_secret
        self._refresh_token = refresh_token
        self._on_rotated = on_rotated

    def form(self) -> Mapping[str, str]:
        """The request's form fields."""
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
            self._refresh_token = SecretStr(new)
            if self._on_rotated:
                self._on_rotated(self._refresh_token)

    def secrets(self) -> tuple[str, ...]:
        """The client's secret and the refresh token."""
        return (self._client_secret.get_secret_value(), self._refresh_token.get_secret_value())


class OAuth:
    """A short-lived access token, had from a token endpoint, renewed before it expires and when it is refused.

    Args:
        client: a client for the server of the token endpoint, without credentials.
        path: the token endpoint on that server.
        grant: how to ask.
        clock: says when a token is old.
        lifetime: assumed if the answer has no ``expires_in``.
    """

    def __init__(
        self, client: HttpClient, path: str, grant: Grant, *, clock: Clock, lifetime: timedelta = timedelta(minutes=30)
    ) -> None:
        self._client = client
        self._path = path
        self._grant = grant
        self._clock = clock
        self._lifetime = lifetime
        self._token = ""
        self._old_tokens: tuple[str, ...] = ()
        self._fresh_until: datetime | None = None

    def headers(self) -> Mapping[str, str]:
        """The access token; fetched if there is none or it is about to expire."""
        if self._fresh_until is None or self._clock.now() >= self._fresh_until:
            self._fetch()
        return {"Authorization": f"Bearer {self._token}"}

    def refresh(self) -> bool:
        """Fetch another token, since this one was refused."""
        self._fetch()
        return True

    def secrets(self) -> tuple[str, ...]:
        """All that was ever used to ask, and the tokens that were given."""
        return tuple(text for text in (self._token, *self._old_tokens, *self._grant.secrets()) if text)

    def _fetch(self) -> None:
        answer = _answer(self._exchange(), self._client.name)
        token = answer.get("access_token")
        if not isinstance(token, str):
            raise AuthError("the token endpoint gave no access token", where=self._client.name)
        self._grant.keep(answer)
        self._old_tokens = (self._token, *self._old_tokens)[:2]
        self._token = _header_safe(token)
        lifetime = _seconds(answer.get("expires_in")) or self._lifetime
        self._fresh_until = self._clock.now() + max(lifetime - EARLY, lifetime / 2)

    def _exchange(self) -> Response:
        try:
            return self._client.post(self._path, data=dict(self._grant.form()))
        except HttpFailure as failure:
            if failure.transient:
                raise
            code = _error_code(failure.response)
            raise AuthError(
                f"the token endpoint refused our credentials{code}",
                where=self._client.name,
                hint="Check client id, secret and refresh token; the consent may have been withdrawn",
            ) from None


def _answer(response: Response, where: str) -> Mapping[str, object]:
    body = response.json()
    if not isinstance(body, dict):
        raise ConnectorError("the token endpoint answered with something else than an object", where=where)
    return body


def _error_code(response: Response | None) -> str:
    body = response.json() if response is not None and response.is_json() else None
    code = body.get("error") if isinstance(body, dict) else None
    return f" ({code})" if isinstance(code, str) and code.isidentifier() else ""


def _seconds(value: object) -> timedelta | None:
    try:
        seconds = int(str(value))
    except ValueError:
        return None
    return timedelta(seconds=seconds) if 0 < seconds < 10**8 else None
