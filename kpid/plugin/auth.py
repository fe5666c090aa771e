"""Proofs of who we are, as little objects that :class:`~kpid.plugin.client.HttpClient` asks for headers before every request."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from pydantic import SecretStr

from kpid.clock import Clock
from kpid.errors import AuthError, ConnectorError
from kpid.plugin.client import REDIRECTS, HttpClient
from kpid.plugin.grants import ClientCredentials, Grant, RefreshToken
from kpid.plugin.reply import HttpFailure, Response

__all__ = ["BasicAuth", "BearerAuth", "ClientCredentials", "Grant", "HeaderAuth", "OAuth", "RefreshToken", "SessionAuth"]

EARLY = timedelta(seconds=60)
"""Tokens are renewed so long before they expire."""
_ELSEWHERE = REDIRECTS | {404, 405, 410}
"""Answers of an address at which no token endpoint is."""


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


class OAuth:
    """A short-lived access token, had from a token endpoint, renewed before it expires and when it is refused.

    Args:
        client: a client for the server of the token endpoint, without credentials.
        path: the token endpoint on that server.
        grant: how to ask.
        clock: says when a token is old.
        lifetime: assumed if the answer has no ``expires_in``.
        tokens_in: turns the vendor's answer into the words of OAuth (``access_token``, ``expires_in``, ``refresh_token``); called
            with every answer, before its token is used.
        refused: the vendor's meaning of a refusal; None = the usual one.

    Attributes:
        answer: the whole last answer (``instance_url``); empty before the first.
    """

    def __init__(
        self,
        client: HttpClient,
        path: str,
        grant: Grant,
        *,
        clock: Clock,
        lifetime: timedelta = timedelta(minutes=30),
        tokens_in: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None,
        refused: Callable[[Response], AuthError | None] | None = None,
    ) -> None:
        self._client = client
        client.hide(grant.secrets)
        self._path = path
        self._grant = grant
        self._clock = clock
        self._lifetime = lifetime
        self._tokens_in = tokens_in
        self._refused = refused
        self.answer: Mapping[str, Any] = {}
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
        told = self._tokens_in(answer) if self._tokens_in else answer
        token = told.get("access_token")
        if not isinstance(token, str):
            raise AuthError("the token endpoint gave no access token", where=self._client.name)
        self._grant.keep(told)
        self.answer = answer
        self._old_tokens = (self._token, *self._old_tokens)[:2]
        self._token = _header_safe(token)
        lifetime = _seconds(told.get("expires_in")) or self._lifetime
        self._fresh_until = self._clock.now() + max(lifetime - EARLY, lifetime / 2)

    def _exchange(self) -> Response:
        form = dict(self._grant.form())
        answer = self._asked(form)
        if isinstance(answer, AuthError):
            again = dict(self._grant.form())
            if again.get("refresh_token") != form.get("refresh_token"):  # another process has rotated the token meanwhile
                answer = self._asked(again)
        if isinstance(answer, AuthError):
            raise answer
        return answer

    def _asked(self, form: Mapping[str, str]) -> Response | AuthError:
        """The answer to one request, or the refusal in our own words: the server's may quote what we sent."""
        try:
            return self._client.post(self._path, data=dict(form))
        except HttpFailure as failure:
            if failure.transient or failure.response is None:
                raise
            return self._refusal(failure)
        except AuthError as error:
            return self._refusal(error.__cause__)

    def _refusal(self, failure: BaseException | None) -> AuthError:
        response = failure.response if isinstance(failure, HttpFailure) else None
        if isinstance(failure, HttpFailure) and failure.status in _ELSEWHERE and not _error_code(response):
            text = (
                failure.what if failure.status in REDIRECTS else f"the token endpoint answered {failure.status}: it is not there"
            )
            return AuthError(
                text, where=self._client.name, hint="Check the address of the login: nothing was said of the credentials"
            )
        if self._refused and response is not None and (error := self._refused(response)):
            return error
        return AuthError(
            f"the token endpoint refused our credentials{_error_code(response)}",
            where=self._client.name,
            hint="Check client id, secret and refresh token; the consent may have been withdrawn",
        )


class SessionAuth:
    """A session that a login opens: a cookie, or a token of the vendor's own making.

    Args:
        login: logs in; gives the headers that prove it. It may raise what a client raises.
        clock: says when a session is old.
        life: how long a session holds.
        rolling: each request makes the session hold anew.
        secrets: what the login sends, to be kept out of errors.
    """

    def __init__(
        self,
        login: Callable[[], Mapping[str, str]],
        clock: Clock,
        life: timedelta,
        *,
        rolling: bool = False,
        secrets: Sequence[SecretStr] = (),
    ) -> None:
        self._login = login
        self._clock = clock
        self._life = max(life - EARLY, life / 2)
        self._rolling = rolling
        self._own = tuple(secret.get_secret_value() for secret in secrets)
        self._headers: Mapping[str, str] = {}
        self._fresh_until: datetime | None = None

    def headers(self) -> Mapping[str, str]:
        """The session's headers; logs in if there is no session or it is about to end."""
        if self._fresh_until is None or self._clock.now() >= self._fresh_until:
            self.refresh()
        elif self._rolling:
            self._fresh_until = self._clock.now() + self._life
        return self._headers

    def refresh(self) -> bool:
        """Log in anew, since the session was refused."""
        self._headers = dict(self._login())
        self._fresh_until = self._clock.now() + self._life
        return True

    def secrets(self) -> tuple[str, ...]:
        """What the login sends, and what it gave: values of headers, of cookies in them, tokens without their scheme."""
        texts = [*self._own, *(text for value in self._headers.values() for text in _parts(value))]
        return tuple(dict.fromkeys(text for text in texts if len(text) > 5))


def _parts(header: str) -> Iterator[str]:
    """A header's value; of ``Bearer x`` the x; of ``pwd=x; lang=en`` the values."""
    yield header
    for piece in header.split(";"):
        yield piece.strip().rpartition(" ")[2]
        yield piece.partition("=")[2].strip()


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
