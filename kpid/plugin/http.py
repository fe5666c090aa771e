"""One exchange with a server, over requests: time-outs always, TLS verified, addresses checked, bodies limited.

:class:`~kpid.plugin.client.HttpClient` decides what an answer means and whether to ask again; only this module knows requests.
"""

from __future__ import annotations

import http.client
import re
import ssl
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3 import BaseHTTPResponse
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    IncompleteRead,
    MaxRetryError,
    NewConnectionError,
    ProxyError,
    ReadTimeoutError,
)

from kpid import __version__
from kpid.clock import Clock
from kpid.plugin.calls import Call, query_text
from kpid.plugin.hosts import checked_base
from kpid.plugin.peers import Lane, RefusedError, pools
from kpid.plugin.redact import Redactor
from kpid.plugin.reply import HttpFailure, Response

CHUNK = 65_536
MOST_LANES = 8
"""Fewer than the library keeps pools: what it closes must not be in use."""
USUAL = {
    "User-Agent": f"kpid/{__version__}",
    "Accept": "application/json",
    "Accept-Encoding": "gzip, deflate",
    "Connection": "keep-alive",
}
"""Headers of every request that has none of these names."""
_cookies: Any = requests.cookies


@dataclass(frozen=True, slots=True)
class WireSettings:
    """How to talk to one server.

    Args:
        timeout: seconds to connect, and to wait for the next bytes.
        total: seconds that one answer may take as a whole, so that a dripping body does not hold us for ever.
        allow_private: whether the server may be on a private, loopback or link-local address.
        ca_file: a company's own certificate authority, beside the usual ones it replaces.
        max_bytes: largest accepted body, decompressed.
    """

    timeout: tuple[float, float] = (10.0, 60.0)
    total: float = 300.0
    allow_private: bool = False
    ca_file: Path | None = None
    max_bytes: int = 64 * 1024 * 1024


class Wire:
    """Does one exchange at a time.

    Args:
        base_url: where the API begins.
        name: what to call the server in errors.
        clock: measures the whole length of an exchange.
        redactor: makes addresses fit for errors.
        settings: limits of time, place and size.
    """

    def __init__(self, base_url: str, name: str, clock: Clock, redactor: Redactor, settings: WireSettings) -> None:
        self._name = name
        self._clock = clock
        self._redactor = redactor
        self._settings = settings
        adapter = _CheckingAdapter(allow_private=settings.allow_private)
        self._session = _Session(adapter, str(settings.ca_file) if settings.ca_file else True)
        self.rebase(base_url)

    def rebase(self, base_url: str) -> None:
        """Go on at another address; ConfigError if it cannot be one."""
        self.base_url = checked_base(base_url, self._name, allow_private=self._settings.allow_private)

    def close(self) -> None:
        """Let go of the connections."""
        self._session.close()

    def url(self, path: str) -> str:
        """``path`` below the base, or an absolute address if it is on the same host.

        Raises:
            HttpFailure: the address leads elsewhere; nothing was requested.
        """
        absolute = re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*:", path)
        url = path if absolute else f"{self.base_url}/{path.lstrip('/')}"
        if re.search(r"[\x00-\x20\x7f\\]", url):
            raise HttpFailure(
                "an address with blanks or control characters was refused", sent=False, transient=False, where=self._name
            )
        if not self.is_home(url):
            raise HttpFailure(
                f"the server pointed to another host ({self._redactor.url(url)})",
                sent=False,
                transient=False,
                where=self._name,
                hint="Credentials are only sent to the configured host; nothing was requested",
            )
        return url

    def is_home(self, url: str) -> bool:
        """Whether ``url`` has scheme, host and port of the base."""
        return url.startswith(f"{self.base_url}/") or _origin(url) == _origin(self.base_url)

    def exchange(self, call: Call) -> Response:
        """Send ``call`` once and read the whole answer, whatever its status; redirects are not followed.

        Raises:
            HttpFailure: no complete answer came.
        """
        started = self._clock.monotonic()
        status = None
        try:
            with closing(self._open(call)) as answer:
                status = answer.status
                return Response(status, answer.headers, self._body(answer, started))
        except (requests.RequestException, HTTPError, OSError) as error:
            failure = self._failure(call, _cause(error), status)
        raise failure  # outside of the except: the library's own texts hold whole addresses

    def _open(self, call: Call) -> BaseHTTPResponse:
        for header in call.headers.items():
            requests.utils.check_header_validity(header)
        try:
            body, kind = call.body()
        except ValueError as error:
            raise requests.exceptions.InvalidJSONError(error) from error
        own = {name.lower() for name in call.headers}
        usual = USUAL if kind is None else {**USUAL, "Content-Type": kind}
        headers = {**{name: value for name, value in usual.items() if name.lower() not in own}, **call.headers}
        address = _address(call.url, query_text(call.params))
        return self._session.sent(call.method, address, headers, body, self._settings.timeout)

    def _body(self, answer: BaseHTTPResponse, started: float) -> bytes:
        parts, size = [], 0
        while part := answer.read1(CHUNK, decode_content=True):
            size += len(part)
            if size > self._settings.max_bytes:
                raise RefusedError(f"answered with more than {self._settings.max_bytes:,} bytes")
            if self._clock.monotonic() - started > self._settings.total:
                raise _TooSlowError(f"took longer than {self._settings.total:g} s to answer")
            parts.append(part)
        return b"".join(parts)

    def _failure(self, call: Call, cause: BaseException, status: int | None) -> HttpFailure:
        sent = not isinstance(cause, _NOT_SENT) or status is not None
        return HttpFailure(
            f"{call.method} {self._redactor.url(call.url)} {_reason(cause, self._settings.timeout)}",
            status=status,
            sent=sent,
            unknown=sent,
            transient=not isinstance(cause, (RefusedError, requests.exceptions.InvalidURL, ssl.SSLCertVerificationError)),
            where=self._name,
            hint=_hint(cause),
        )


class _TooSlowError(OSError):
    """The answer drips in too slowly."""


_NOT_SENT = (
    NewConnectionError,
    ConnectTimeoutError,
    ProxyError,
    RefusedError,
    ssl.SSLCertVerificationError,
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidHeader,
)


def _cause(error: BaseException) -> BaseException:
    """The error that says most: the library wraps it up to four times."""
    seen = error
    for _ in range(8):
        inner = getattr(seen, "reason", None) if isinstance(seen, MaxRetryError) else None
        wrapped = inner or seen.__cause__ or next((arg for arg in seen.args if isinstance(arg, BaseException)), None)
        if isinstance(seen, _NOT_SENT) or not isinstance(wrapped, BaseException):
            return seen
        seen = wrapped
    return seen


def _reason(cause: BaseException, timeout: tuple[float, float]) -> str:
    text = f"broke off ({type(cause).__name__})"
    match cause:
        case RefusedError() | _TooSlowError():
            text = str(cause)
        case NewConnectionError() | ProxyError():
            inner = cause.__cause__
            text = f"could not be reached: {(inner.strerror if isinstance(inner, OSError) else None) or 'connection failed'}"
        case ConnectTimeoutError():
            text = f"could not connect within {timeout[0]:g} s"
        case ReadTimeoutError() | TimeoutError():
            text = f"gave no answer within {timeout[1]:g} s"
        case ssl.SSLCertVerificationError():
            text = f"has a certificate that is not trusted ({cause.verify_message})"
        case ssl.SSLError():
            text = f"could not agree on TLS ({cause.reason})"
        case IncompleteRead() | http.client.IncompleteRead():
            text = "was cut off in the middle of the answer"
    return text


def _hint(cause: BaseException) -> str | None:
    match cause:
        case ssl.SSLCertVerificationError():
            return "If the server uses a company's own authority, name its file as ca_file"
        case RefusedError() if "address" in str(cause):
            return "If this server is meant, set allow_private: true"
        case _:
            return None


@lru_cache(maxsize=256)
def _origin(url: str) -> tuple[str, str, int | None]:
    parts: SplitResult = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = -1
    if parts.username is not None or parts.password is not None:
        return ("userinfo", parts.netloc, port)
    return (parts.scheme.lower(), (parts.hostname or "").lower(), port or {"https": 443, "http": 80}.get(parts.scheme.lower()))


class _CheckingAdapter(HTTPAdapter):
    def __init__(self, *, allow_private: bool) -> None:
        self._pool_classes = pools(allow_private=allow_private)
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pool_classes


class _Session(requests.Session):
    """Keeps the cookies and the ways to servers; its own way of sending does most of its work for each request anew."""

    def __init__(self, adapter: Any, verify: bool | str) -> None:
        super().__init__()
        self.verify = verify
        self._adapter = adapter
        self._lanes: dict[str, Lane] = {}

    def close(self) -> None:
        """Let go of the connections, and of the ways that lead to them."""
        self._adapter.close()
        self._lanes.clear()

    def sent(
        self, method: str, address: _Address, headers: dict[str, str], body: bytes | None, timeout: tuple[float, float]
    ) -> BaseHTTPResponse:
        """Send a request and give the answer, its body not read yet; redirects are not followed."""
        lane = self._lanes.get(address.server) or self._new_lane(address)
        target = address.target
        if lane.proxies:
            target = self._adapter.request_url(address.request({}), lane.proxies)
        if self.cookies and (kept := _cookies.get_cookie_header(self.cookies, address.request(headers))):
            headers["Cookie"] = kept
        answer = lane.send(method, target, body, headers, timeout)
        if "Set-Cookie" in answer.headers:
            _cookies.extract_cookies_to_jar(self.cookies, address.request(headers), answer)
        return answer

    def _new_lane(self, address: _Address) -> Lane:
        """The way to a server: the environment is asked once for certificates and proxies."""
        found = self.merge_environment_settings(address.url, {}, True, self.verify, None)
        proxies = found["proxies"] if requests.utils.select_proxy(address.url, found["proxies"]) else {}
        pool = self._adapter.get_connection_with_tls_context(address.request({}), found["verify"], proxies=proxies)
        self._adapter.cert_verify(pool, address.url, found["verify"], None)
        if len(self._lanes) >= MOST_LANES:
            self._lanes.clear()
        lane = self._lanes[address.server] = Lane(pool, self._adapter.max_retries, proxies)
        return lane


@dataclass(frozen=True, slots=True)
class _Address:
    """Where a request goes: the whole address, that of the server, and what is asked of it."""

    url: str
    server: str
    target: str

    def request(self, headers: Mapping[str, str]) -> requests.PreparedRequest:
        """As the library knows requests."""
        request = requests.PreparedRequest()
        request.url, request.headers = self.url, requests.structures.CaseInsensitiveDict(headers)
        return request


@lru_cache(maxsize=64)
def _address(url: str, query: str) -> _Address:
    request = requests.PreparedRequest()
    request.prepare_url(url, query)
    whole = str(request.url)
    return _Address(whole, whole[: whole.index("/", len("https://"))], request.path_url)
