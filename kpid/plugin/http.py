"""One exchange with a server, over requests: time-outs always, TLS verified, addresses checked, bodies limited.

:class:`~kpid.plugin.client.HttpClient` decides what an answer means and whether to ask again; only this module knows requests.
"""

from __future__ import annotations

import http.client
import re
import ssl
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, cast
from urllib.parse import SplitResult, urljoin, urlsplit

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
from kpid.plugin.hosts import checked_base
from kpid.plugin.peers import Lane, RefusedError, pools
from kpid.plugin.redact import Redactor
from kpid.plugin.reply import HttpFailure, Response

CHUNK = 65_536
MOST_LANES = 16

Params = Mapping[str, Any] | Sequence[tuple[str, Any]]


@dataclass(frozen=True, slots=True)
class Call:
    """One request, ready to go: an absolute address and what to send there."""

    method: str
    url: str
    params: Params | None = None
    json: Any = field(default=None, repr=False)
    data: Any = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    def redirected(self, location: str) -> Call:
        """The same request at the place that a redirect names."""
        return replace(self, url=urljoin(self.url, location), params=None)


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
        self._session = _session(settings)
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
        return _origin(url) == _origin(self.base_url)

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
        if isinstance(call.data, bytes) and call.params is None and (lane := self._session.lane(call)) is not None:
            for header in call.headers.items():
                requests.utils.check_header_validity(header)
            return lane.send(call.method, call.data, call.headers, self._settings.timeout)
        answer = self._session.request(
            call.method,
            call.url,
            params=call.params,
            json=call.json,
            data=call.data,
            headers=dict(call.headers),
            timeout=self._settings.timeout,
            allow_redirects=False,
            stream=True,
            verify=self._session.verify,
        )
        return cast("BaseHTTPResponse", answer.raw)

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
    """Leaves redirects alone (the library would read their bodies whole); asks the environment for proxies once per server."""

    def __init__(self) -> None:
        super().__init__()
        self._environment: dict[object, Any] = {}  # to ask for each request costs a fifth of its time
        self._lanes: dict[tuple[str, str], Lane | None] = {}

    def lane(self, call: Call) -> Lane | None:
        """The way to an address; None if it leads through a proxy."""
        place = (call.method, call.url)
        if place not in self._lanes:
            if len(self._lanes) >= MOST_LANES:
                self._lanes.clear()
            self._lanes[place] = self._new_lane(call)
        return self._lanes[place]

    def _new_lane(self, call: Call) -> Lane | None:
        found = self.merge_environment_settings(call.url, {}, True, self.verify, None)
        request = requests.Request(call.method, call.url).prepare()
        if requests.utils.select_proxy(str(request.url), found["proxies"]):
            return None
        adapter: Any = self.get_adapter(call.url)
        pool = adapter.get_connection_with_tls_context(request, found["verify"], proxies=found["proxies"])
        adapter.cert_verify(pool, request.url, found["verify"], None)
        return Lane(pool, request.path_url, {name: str(value) for name, value in self.headers.items()}, adapter.max_retries)

    def merge_environment_settings(self, url: Any, *given: Any) -> Any:
        if (origin := _origin(str(url))) not in self._environment:
            self._environment[origin] = super().merge_environment_settings(url, *given)
        return {**self._environment[origin], "proxies": dict(self._environment[origin]["proxies"])}

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        return None


def _session(settings: WireSettings) -> _Session:
    session = _Session()
    session.headers.update(
        {"User-Agent": f"kpid/{__version__}", "Accept": "application/json", "Accept-Encoding": "gzip, deflate"}
    )
    session.verify = str(settings.ca_file) if settings.ca_file else True
    session.auth = _no_netrc
    adapter = _CheckingAdapter(allow_private=settings.allow_private)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


def _no_netrc(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Keeps requests from adding a password of ~/.netrc: credentials come from the configuration alone."""
    return request
