"""Paging as little objects with two duties: read the reply, change the next request.

Each refuses a page that leads nowhere new: an API that repeats a token would otherwise keep a sync busy for ever.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from kpid.errors import ConnectorError
from kpid.plugin.client import HttpClient
from kpid.plugin.reply import Response

MAX_PAGES = 1_000_000


class Paginator(Protocol):
    """How an API goes on after a page. One object per read."""

    def first(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """Parameters of the first request."""

    def next(self, response: Response, params: Mapping[str, Any]) -> tuple[str | None, Mapping[str, Any]] | None:
        """Where the next page is: path (None = the same one) and parameters; None after the last page.

        Raises:
            ConnectorError: the page leads back to where we have been.
        """


def read_pages(
    client: HttpClient, path: str, paginator: Paginator, params: Mapping[str, Any] | None = None
) -> Iterator[Response]:
    """GET ``path`` page by page."""
    query = paginator.first(params or {})
    for _ in range(MAX_PAGES):
        response = client.get(path, params=query)
        yield response
        following = paginator.next(response, query)
        if following is None:
            return
        path, query = following[0] or path, following[1]
    raise ConnectorError(f"more than {MAX_PAGES} pages", where=client.name)


def dig(body: Any, path: str) -> Any:
    """The value at a dotted path (``paging.next.after``); None where a step is missing."""
    for step in path.split("."):
        if type(body) is not dict and not isinstance(body, Mapping):  # JSON's own is by far the most frequent, and quickly told
            return None
        body = body.get(step)
    return body


class _Seen:
    """Remembers the places that a read has been to."""

    def __init__(self) -> None:
        self._places: set[str] = set()

    def check(self, place: str) -> None:
        """Raise if ``place`` is one of them."""
        if place in self._places:
            raise ConnectorError("the paging went round in a circle: the same next page was given twice")
        self._places.add(place)


class NextToken:
    """The reply holds a token that the next request carries.

    Args:
        path: dotted path of the token in the JSON.
        param: the query parameter that it goes into.
    """

    def __init__(self, path: str, param: str) -> None:
        self._path = path
        self._param = param
        self._seen = _Seen()

    def first(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """As they are."""
        return params

    def next(self, response: Response, params: Mapping[str, Any]) -> tuple[str | None, Mapping[str, Any]] | None:
        """The same request with the new token; the end when there is none."""
        token = dig(response.json(), self._path)
        if token in {None, ""}:
            return None
        self._seen.check(str(token))
        return None, {**params, self._param: token}


class NextLink:
    """The reply holds the whole address of the next page; it is asked as it is (on our own host only: the client sees to it)."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._seen = _Seen()

    def first(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """As they are."""
        return params

    def next(self, response: Response, params: Mapping[str, Any]) -> tuple[str | None, Mapping[str, Any]] | None:
        """The address, without further parameters; the end when there is none."""
        link = dig(response.json(), self._path)
        if not isinstance(link, str) or not link:
            return None
        self._seen.check(link)
        return link, {}


class _Counted:
    """Paging by numbers ends at an empty page, or where the API says that there is no more."""

    def __init__(self, items: str, more: str | None) -> None:
        self._items = items
        self._more = more
        self._last: Any = None

    def _size(self, response: Response) -> int:
        """How many items the page has; 0 at the end."""
        body = response.json()
        items = dig(body, self._items) if self._items else body
        if not isinstance(items, list) or not items:
            return 0
        if self._last is not None and items == self._last:
            raise ConnectorError("the paging stands still: the same page was given twice")
        self._last = items
        return 0 if self._more and not dig(body, self._more) else len(items)


class PageNumber(_Counted):
    """Pages are numbered.

    Args:
        items: dotted path of the list in the JSON; empty if the reply itself is the list.
        param: the query parameter that holds the number.
        first: the first page's number.
        more: dotted path of a flag that says whether there is another page; None = until a page is empty.
    """

    def __init__(self, items: str, *, param: str = "page", first: int = 1, more: str | None = None) -> None:
        super().__init__(items, more)
        self._param = param
        self._number = first

    def first(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """The first page's number."""
        return {**params, self._param: self._number}

    def next(self, response: Response, params: Mapping[str, Any]) -> tuple[str | None, Mapping[str, Any]] | None:
        """The following number."""
        if not self._size(response):
            return None
        self._number += 1
        return None, {**params, self._param: self._number}


class Offset(_Counted):
    """The request says how many items to skip. A short page is not the end: servers may give fewer than was asked for.

    Args:
        items: dotted path of the list in the JSON; empty if the reply itself is the list.
        param: the query parameter that holds the offset.
        more: dotted path of a flag that says whether there is another page; None = until a page is empty.
    """

    def __init__(self, items: str, *, param: str = "offset", more: str | None = None) -> None:
        super().__init__(items, more)
        self._param = param
        self._skip = 0

    def first(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """Skip nothing."""
        return {**params, self._param: 0}

    def next(self, response: Response, params: Mapping[str, Any]) -> tuple[str | None, Mapping[str, Any]] | None:
        """Skip what has been seen."""
        size = self._size(response)
        if not size:
            return None
        self._skip += size
        return None, {**params, self._param: self._skip}
