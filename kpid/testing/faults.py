"""Faults for :meth:`kpid.testing.FakeApi.fail`: what real servers do to us now and then."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from kpid.testing.api import Answer, Fault, Request

ERROR_PAGE = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"


def status(code: int, body: Any = None, headers: Mapping[str, str] | None = None) -> Fault:
    """Answer ``code`` instead."""
    return lambda _request, _answer: Answer(code, {"message": f"error {code}"} if body is None else body, headers or {})


def bad_gateway() -> Fault:
    """A proxy's error page in HTML."""
    return lambda _request, _answer: Answer(502, ERROR_PAGE, {"Content-Type": "text/html"})


def html_ok() -> Fault:
    """A page of HTML with status 200, as captive portals and log-in pages give."""
    return lambda _request, _answer: Answer(200, ERROR_PAGE, {"Content-Type": "text/html"})


def limited(retry_after: str | None = "2", body: Any = None) -> Fault:
    """429, with or without ``Retry-After``."""
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    return status(429, body or {"message": "Too many requests"}, headers)


def cut() -> Fault:
    """The connection is cut in the middle of the body."""
    return lambda _request, answer: replace(answer, manner="truncate")


def half() -> Fault:
    """Half the body with status 200 and no sign of a cut: JSON that does not parse."""
    return lambda _request, answer: replace(answer, manner="half")


def reset() -> Fault:
    """The connection is reset after the request has been read, before the first byte of an answer."""
    return lambda _request, _answer: Answer(manner="reset")


def silence() -> Fault:
    """No answer at all."""
    return lambda _request, _answer: Answer(manner="hang")


def drip(on_byte: Callable[[], None] | None = None) -> Fault:
    """The answer comes byte by byte; ``on_byte`` may move a clock before each."""
    return lambda _request, answer: replace(answer, manner="drip", on_byte=on_byte)


def compressed() -> Fault:
    """The answer is gzipped: no fault, but to be borne."""
    return lambda _request, answer: replace(answer, gzip=True)


def redirected(location: str, code: int = 302) -> Fault:
    """A redirect."""
    return lambda _request, _answer: Answer(code, None, {"Location": location})


def once_more(previous: list[Answer]) -> Fault:
    """The same page again: gives ``previous[0]`` once it has been filled, and fills it first."""

    def fault(_request: Request, answer: Answer) -> Answer:
        if previous:
            return previous[0]
        previous.append(answer)
        return answer

    return fault
