"""Holds the sockets of the pages: few threads, short patience, one request per connection.

``GET /a/<token>`` shows a page and changes nothing, ``POST /a/<token>`` does what the token allows, ``GET /health`` says whether
kpid is well. There is nothing else. Tokens are never logged.
"""

from __future__ import annotations

import logging
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

from kpid.clock import Clock, SystemClock
from kpid.config.alerting import Web
from kpid.errors import ConfigError, KpidError
from kpid.plugin.hosts import is_loopback
from kpid.plugin.notifier import Press
from kpid.web.pages import done_page, offer_page, refusal_page
from kpid.web.wire import HEAD_END, MAX_HEAD, Head, RefusedError, Response, form_from, head_from

log = logging.getLogger(__name__)

PATIENCE = 5.0
"""Seconds for a whole request to arrive, and for its answer to be taken."""
MOST_AT_ONCE = 32
_BACKLOG = 128
_ACTION = re.compile(r"/a/([A-Za-z0-9_.-]{1,2000})")


class Offered(Protocol):
    """What a token is for."""

    @property
    def verb(self) -> str: ...  # noqa: D102 - see the page
    @property
    def who(self) -> str: ...  # noqa: D102
    @property
    def lines(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def more(self) -> int: ...  # noqa: D102
    @property
    def standing(self) -> bool: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Answers:
    """What the pages ask of kpid.

    Attributes:
        offer: what a token is for; changes nothing. Raises KpidError.
        press: does it; the sentence to show. Raises KpidError.
        is_well: whether kpid works.
    """

    offer: Callable[[str], Offered]
    press: Callable[[Press], str]
    is_well: Callable[[], bool]


class Site:
    """Which request gets which page. Without sockets.

    Args:
        web: as configured.
        answers: what kpid does.
        port: that we really listen on.
    """

    def __init__(self, web: Web, answers: Answers, port: int) -> None:
        address, own = urlsplit(web.url), _address(web)
        self._prefix = address.path.rstrip("/")
        self._answers = answers
        hosts = {address.netloc, f"{own[0]}:{port}", f"[{own[0]}]:{port}"}
        if is_loopback(own[0]):
            hosts |= {f"{name}:{port}" for name in ("localhost", "127.0.0.1", "[::1]")}
        self.hosts = frozenset(host.lower() for host in hosts)

    def answer(self, head: Head, body: bytes) -> Response:
        """The page for a request.

        Raises:
            RefusedError: there is none.
        """
        path = head.path.removeprefix(self._prefix) if self._prefix and head.path.startswith(f"{self._prefix}/") else head.path
        if path == "/health" and head.method == "GET":
            well = self._answers.is_well()
            return Response(200 if well else 503, b"ok\n" if well else b"not well\n", "text/plain; charset=utf-8")
        found = _ACTION.fullmatch(path)
        if found is None:
            raise RefusedError(404, "There is no such page.")
        try:
            return self._act(found[1], body) if head.method == "POST" else self._show(found[1])
        except KpidError as error:
            return refusal_page(400, error.what, error.hint or "")

    def _show(self, token: str) -> Response:
        found = self._answers.offer(token)
        return offer_page(found.verb, found.who, found.lines, found.more, standing=found.standing)

    def _act(self, token: str, body: bytes) -> Response:
        form = form_from(body)
        offered = self._answers.offer(token)
        who = offered.who or form.get("who", "").strip()
        if not who:
            raise KpidError("please say who you are", hint="Go back, and write your name")
        actor = who if offered.who else f"{who} (as written)"
        press = Press(form.get("do", ""), token, actor, form.get("comment", ""), form.get("until", ""))
        return done_page(self._answers.press(press))


@contextmanager
def serving(web: Web, answers: Answers, clock: Clock | None = None) -> Iterator[int]:
    """Serve the pages in threads for the length of the block; gives the port.

    Args:
        web: as configured; port 0 takes a free one.
        answers: what kpid does.
        clock: for the patience with slow clients.

    Raises:
        ConfigError: the address cannot be listened on.
    """
    listener = _listener(web)
    port = int(listener.getsockname()[1])
    site = Site(web, answers, port)
    stopping = threading.Event()
    loop = threading.Thread(target=_accept, args=(listener, site, stopping, clock or SystemClock()), name="web", daemon=True)
    loop.start()
    try:
        yield port
    finally:
        stopping.set()
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)  # wakes the accepting thread
        listener.close()
        loop.join(PATIENCE)


def _address(web: Web) -> tuple[str, int]:
    host, _, port = web.listen.rpartition(":")
    return host.strip("[]"), int(port)


def _listener(web: Web) -> socket.socket:
    host, port = _address(web)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except (OSError, OverflowError) as error:
        listener.close()
        what = f"the pages cannot be served at {web.listen}: {getattr(error, 'strerror', None) or error}"
        raise ConfigError(what, where="web", hint="Choose another address or port with `listen:`") from error
    return listener


def _accept(listener: socket.socket, site: Site, stopping: threading.Event, clock: Clock) -> None:
    places = threading.BoundedSemaphore(MOST_AT_ONCE)
    while not stopping.is_set():
        try:
            line, _ = listener.accept()
        except OSError:
            if not stopping.is_set():
                clock.sleep(0.1)  # out of files: others will close theirs
            continue
        places.acquire()  # nobody keeps one for long
        try:
            threading.Thread(target=_attend, args=(line, site, places, clock), name="web", daemon=True).start()
        except RuntimeError:  # no more threads
            line.close()
            places.release()


def _attend(line: socket.socket, site: Site, places: threading.BoundedSemaphore, clock: Clock) -> None:
    """One connection, from its request to its end."""
    try:
        with line:
            until = clock.monotonic() + PATIENCE
            response = _response(line, site, until, clock)
            line.settimeout(PATIENCE)
            line.sendall(response.dump())
            line.shutdown(socket.SHUT_WR)
            _drain(line)
    except OSError:
        pass  # whoever asked is gone
    finally:
        places.release()


def _response(line: socket.socket, site: Site, until: float, clock: Clock) -> Response:
    try:
        data, rest = _read_head(line, until, clock)
        head = head_from(data, site.hosts)
        body = rest[: head.length]
        while len(body) < head.length:
            body += _read(line, head.length - len(body), until, clock)
        return site.answer(head, body)
    except RefusedError as refused:
        return refusal_page(refused.status, refused.text)
    except OSError:
        raise
    except Exception:  # the request's end: the others are served
        log.exception("a page could not be made")
        return refusal_page(500, "That did not work. The log says more.")


def _read_head(line: socket.socket, until: float, clock: Clock) -> tuple[bytes, bytes]:
    data = b""
    while HEAD_END not in data:
        if len(data) >= MAX_HEAD:
            raise RefusedError(431, "That was too much.")
        data += _read(line, MAX_HEAD - len(data), until, clock)
    head, _, rest = data.partition(HEAD_END)
    return head, rest


def _read(line: socket.socket, most: int, until: float, clock: Clock) -> bytes:
    left = until - clock.monotonic()
    if left <= 0:
        raise RefusedError(408, "That took too long.")
    line.settimeout(left)
    try:
        data = line.recv(most)
    except TimeoutError:
        raise RefusedError(408, "That took too long.") from None
    if not data:
        raise RefusedError(400, "That was no whole request.")
    return data


def _drain(line: socket.socket) -> None:
    """Take what still comes, for a moment: closing before would throw our answer away at the other end."""
    line.settimeout(0.2)
    with suppress(OSError):
        for _ in range(16):
            if not line.recv(65_536):
                return
