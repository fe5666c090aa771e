"""The client that plugins use: what an answer means, whether to ask again, when to give up.

Connectors use :meth:`HttpClient.get` and :meth:`HttpClient.post`: what comes back is a usable answer, and everything else is an
error of :mod:`kpid.errors`. Notifiers use :meth:`HttpClient.request_raw`: one attempt, every status returned, and a failure that
says whether the message may have arrived.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from kpid.clock import Clock
from kpid.errors import AuthError, ConfigError, DeferredError, KpidError
from kpid.plugin.calls import Call, Params
from kpid.plugin.http import Wire, WireSettings
from kpid.plugin.pacing import Pacer, RateLimit, backoff, retry_after
from kpid.plugin.redact import Redactor
from kpid.plugin.reply import HttpFailure, Response

MAX_REDIRECTS = 5
TRANSIENT = frozenset({408, 423, 425, 429, *range(500, 600)} - {501, 505})
REDIRECTS = frozenset({301, 302, 303, 307, 308})


class Auth(Protocol):
    """How requests prove who we are. Asked for every single request: tokens rotate in the middle of a long read."""

    def headers(self) -> Mapping[str, str]:
        """Headers for the next request."""

    def refresh(self) -> bool:
        """The server refused the credentials (401): get new ones. False if there is nothing to renew."""

    def secrets(self) -> tuple[str, ...]:
        """The texts that must never be shown."""


class NoAuth:
    """Requests without credentials."""

    def headers(self) -> Mapping[str, str]:
        """None needed."""
        return {}

    def refresh(self) -> bool:
        """Nothing to renew."""
        return False

    def secrets(self) -> tuple[str, ...]:
        """Nothing to hide."""
        return ()


class HttpClient(AbstractContextManager["HttpClient"]):
    """A client for one server. Used from one thread.

    Args:
        base_url: where the API begins, ``https://api.example.com``; ``http://`` is only for servers at private addresses.
        name: what to call the server in errors (the source's or receiver's id).
        clock: for waiting.
        auth: adds credentials to each request.
        headers: sent with each request.
        timeout: seconds to connect, and to wait for the next bytes.
        total: seconds that one answer may take as a whole.
        max_tries: attempts per request; 1 = no retries.
        max_wait: a server that asks for a longer pause defers the source instead.
        limits: requests per span of time; kept on our side.
        pacer: keeps the limits instead, together with others of the same account (``context.pacers.of(...)``).
        wait_hook: reads the vendor's own statement of a pause from an error answer that has no ``Retry-After``.
        error_hook: the vendor's meaning of an error answer; None = the usual one.
        expired: answers besides 401 that mean "log in again": done once, and if the next is no better it is an AuthError.
        after: looks at every answer of our own host; raises to stop (budgets read headers).
        empty_ok: further statuses that mean "nothing there": a usable answer with an empty body.
        transient: further statuses that are worth another try.
        allow_private: whether the server may be on a private, loopback or link-local address.
        redirect_hosts: hosts that redirects may lead to besides our own; they never get headers of ours.
        ca_file: a company's own certificate authority. Certificates are always verified.
        max_bytes: largest accepted body, decompressed.
        secrets: further texts to keep out of errors.
        secret_path: the path of the address is a secret (webhooks).
        rng: source of the jitter in pauses.
    """

    def __init__(
        self,
        base_url: str,
        *,
        name: str,
        clock: Clock,
        auth: Auth | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: tuple[float, float] = (10.0, 60.0),
        total: float = 300.0,
        max_tries: int = 5,
        max_wait: timedelta = timedelta(minutes=2),
        limits: Sequence[RateLimit] = (),
        pacer: Pacer | None = None,
        wait_hook: Callable[[Response], timedelta | None] | None = None,
        error_hook: Callable[[Response], KpidError | None] | None = None,
        expired: Callable[[Response], bool] | None = None,
        after: Callable[[Response], None] | None = None,
        empty_ok: Collection[int] = (),
        transient: Collection[int] = (),
        allow_private: bool = False,
        redirect_hosts: Collection[str] = (),
        ca_file: Path | None = None,
        max_bytes: int = 64 * 1024 * 1024,
        secrets: Sequence[str] = (),
        secret_path: bool = False,
        rng: random.Random | None = None,
    ) -> None:
        self.name = name
        self._clock = clock
        self._auth: Auth = auth or NoAuth()
        self._headers = dict(headers or {})
        self._max_tries = max_tries
        self._max_wait = max_wait
        self._pacer = pacer or Pacer(limits, clock)
        self._wait_hook = wait_hook
        self._error_hook = error_hook
        self._expired = expired or _never
        self._after = after
        self._empty_ok = frozenset(empty_ok)
        self._transient = TRANSIENT | frozenset(transient)
        self._redirect_hosts = frozenset(redirect_hosts)
        self._rng = rng or random.Random()  # noqa: S311  jitter, no secret
        own = tuple(secrets)
        self._senders: list[Callable[[], Sequence[str]]] = []
        self._redactor = Redactor(lambda: (*own, *self._auth.secrets(), *self._sent_secrets()), path=not secret_path)
        settings = WireSettings(timeout, total, allow_private, ca_file, max_bytes)
        self._wire = Wire(base_url, name, clock, self._redactor, settings)

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connections."""
        self._wire.close()

    def hide(self, secrets: Callable[[], Sequence[str]]) -> None:
        """Keep further texts out of errors: what requests of this client carry beside its own credentials."""
        self._senders.append(secrets)

    def _sent_secrets(self) -> tuple[str, ...]:
        return tuple(text for secrets in self._senders for text in secrets())

    def get(self, path: str, *, params: Params | None = None, headers: Mapping[str, str] | None = None) -> Response:
        """GET with retries; see :meth:`request`."""
        return self.request("GET", path, params=params, headers=headers)

    def post(
        self,
        path: str,
        *,
        params: Params | None = None,
        json: Any = None,
        data: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """POST with retries; see :meth:`request`. For requests that may be repeated: searches, batch reads, token exchanges."""
        return self.request("POST", path, params=params, json=json, data=data, headers=headers)

    def rebase(self, base_url: str, *, within: Collection[str] = ()) -> None:
        """Go on at another address, which the server has named as ours: the instance of an account.

        Args:
            base_url: the new address.
            within: domains in which it has to be (``example.com`` allows ``eu.example.com`` too); none = any.

        Raises:
            AuthError: the address is no https address in one of the domains; credentials do not go there.
        """
        host = (urlsplit(base_url).hostname or "").lower()
        try:
            if within and not any(host == domain or host.endswith(f".{domain}") for domain in within):
                raise ConfigError(f"it is not in {' or '.join(within)}")
            self._wire.rebase(base_url)
        except ConfigError as error:
            text = f"the server names an address that was refused ({self._redactor.url(base_url)}): {error.what}"
            raise AuthError(text, where=self.name, hint="Set base_url to the account's own address") from None

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Params | None = None,
        json: Any = None,
        data: Any = None,
        headers: Mapping[str, str] | None = None,
        parse: bool = True,
    ) -> Response:
        """Ask until there is a usable answer (2xx, and JSON if ``parse``).

        Args:
            method: HTTP method.
            path: below ``base_url``, or an absolute address on the same host (a "next" link).
            params: query parameters.
            json: body, as JSON.
            data: body, as form fields or bytes.
            headers: for this request.
            parse: a 2xx whose body is no JSON is a fault worth another try (a proxy's page, a cut body).

        Raises:
            AuthError: 401 (or what ``expired`` says) even after one refresh, or 403.
            DeferredError: the server asks for a pause longer than ``max_wait``.
            HttpFailure: anything else; ``transient`` says whether a later sync may succeed.
        """
        call = Call(method, self._wire.url(path), params, json, data, {**self._headers, **(headers or {})})
        refreshed, tries = False, 0
        while True:
            try:
                response = self._follow(call)
                if not refreshed and self._is_expired(response) and self._auth.refresh():
                    refreshed = True
                    continue
                self._judge(call, response, parse=parse)
            except HttpFailure as failure:
                tries += 1
                self._wait_or_raise(failure, tries)
            else:
                return Response(response.status, response.headers) if response.status in self._empty_ok else response

    def request_raw(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        data: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Ask exactly once and return the answer, whatever its status; redirects are not followed.

        Raises:
            HttpFailure: no complete answer came; ``unknown`` is True when the request may have reached the server all the same.
        """
        return self._send(Call(method, self._wire.url(path), None, json, data, {**self._headers, **(headers or {})}))

    def _send(self, call: Call) -> Response:
        headers = {**self._auth.headers(), **call.headers} if self._wire.is_home(call.url) else {}
        self._pacer.wait()
        response = self._wire.exchange(Call(call.method, call.url, call.params, call.json, call.data, headers))
        if self._after and self._wire.is_home(call.url):
            self._after(response)
        return response

    def _follow(self, call: Call) -> Response:
        for _ in range(MAX_REDIRECTS + 1):
            response = self._send(call)
            location = response.headers.get("Location")
            if response.status not in REDIRECTS or call.method != "GET" or not location:
                return response
            target = call.redirected(location)
            if not self._wire.is_home(target.url) and not _is_allowed(target.url, self._redirect_hosts):
                text = f"was redirected to another host ({self._redactor.url(target.url)}), which was refused"
                raise self._failure(call, text, response, transient=False)
            call = target
        raise self._failure(call, "was redirected in a circle", response, transient=False)

    def _judge(self, call: Call, response: Response, *, parse: bool) -> None:
        """Raise what the answer means, if it is not a usable one."""
        is_expired = self._is_expired(response)
        if response.status in self._empty_ok and not is_expired:
            return
        if response.ok and not is_expired:
            if parse and not response.is_json():
                raise self._failure(call, "answered with something that is no JSON, or cut short", response, transient=True)
            return
        if self._error_hook and (error := self._error_hook(response)):
            raise error
        failure = self._failure(call, self._meaning(call, response), response, transient=response.status in self._transient)
        if is_expired or response.status == 403:
            hint = "Renew the token or password" if is_expired else "Give these credentials the right to read this"
            raise AuthError(failure.what, where=self.name, hint=hint) from failure
        raise failure

    def _meaning(self, call: Call, response: Response) -> str:
        location = response.headers.get("Location")
        if response.status in REDIRECTS and location:
            target = self._redactor.url(call.redirected(location).url)
            return f"was redirected to {target}; what a {call.method} holds is not sent on"
        said = response.vendor_message()
        return f"answered {response.status}" + (f": {said}" if said else "")

    def _is_expired(self, response: Response) -> bool:
        return response.status == 401 or self._expired(response)

    def _failure(self, call: Call, text: str, response: Response, *, transient: bool) -> HttpFailure:
        wait = retry_after(response.headers, self._clock.now())
        if wait is None and not response.ok and self._wait_hook:
            wait = self._wait_hook(response)
        what = self._redactor.text(f"{call.method} {self._redactor.url(call.url)} {text}")
        return HttpFailure(
            what, status=response.status, transient=transient, retry_after=wait, response=response, where=self.name
        )

    def _wait_or_raise(self, failure: HttpFailure, tries: int) -> None:
        asked = failure.retry_after
        spent = tries >= self._max_tries
        if failure.transient and asked is not None and (asked > self._max_wait or (spent and failure.status == 429)):
            raise DeferredError(failure.what, self._clock.now() + asked, where=self.name) from failure
        if spent or not failure.transient:
            raise failure
        pause = backoff(tries, self._rng) if asked is None else asked
        self._clock.sleep(pause.total_seconds())


def _never(_response: Response) -> bool:
    return False


def _is_allowed(url: str, hosts: Collection[str]) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "https" and parts.username is None and parts.hostname in hosts
