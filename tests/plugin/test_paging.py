"""Paginators: every item once, and no circle goes on for ever."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from kpid.errors import ConnectorError
from kpid.plugin import HttpClient, NextLink, NextToken, Offset, PageNumber, Paginator, dig, read_pages
from kpid.testing import Answer, FakeApi, FakeClock, Request

ITEMS = [{"id": number} for number in range(7)]


@pytest.fixture
def api() -> Iterator[FakeApi]:
    with FakeApi(FakeClock()) as api:
        yield api


@pytest.fixture
def client(api: FakeApi) -> Iterator[HttpClient]:
    with HttpClient(api.url, name="crm", clock=api.clock, allow_private=True, max_tries=1) as client:
        yield client


def by_token(request: Request) -> dict[str, object]:
    start = int(request.arg("after", "0"))
    body: dict[str, object] = {"items": ITEMS[start : start + 3]}
    return body | ({"paging": {"next": {"after": str(start + 3)}}} if start + 3 < len(ITEMS) else {})


def by_number(request: Request) -> dict[str, object]:
    start = 3 * (int(request.arg("page")) - 1)
    return {"items": ITEMS[start : start + 3], "more": start + 3 < len(ITEMS)}


def by_offset(request: Request) -> dict[str, object]:
    start = int(request.arg("offset"))
    return {"items": ITEMS[start : start + (2 if start == 0 else 3)], "more": start + 3 < len(ITEMS)}  # a short first page


def by_link(request: Request) -> dict[str, object]:
    start = int(request.arg("from", "0"))
    link = f"http://{request.headers['Host']}/items?from={start + 3}" if start + 3 < len(ITEMS) else None
    return {"items": ITEMS[start : start + 3], "next": link}


@pytest.mark.parametrize(
    ("server", "paginator", "requests"),
    [
        (by_token, NextToken("paging.next.after", "after"), 3),
        (by_link, NextLink("next"), 3),
        (by_number, PageNumber("items"), 4),
        (by_number, PageNumber("items", more="more"), 3),
        (by_offset, Offset("items"), 4),
        (by_offset, Offset("items", more="more"), 3),
    ],
)
def test_every_item_comes_once(api, client, server, paginator, requests):
    api.route("GET", "/items", server)
    got = [item for page in read_pages(client, "/items", paginator, {"limit": 3}) for item in page.json()["items"]]
    assert got == ITEMS
    assert len(api.requests) == requests


@pytest.mark.parametrize(
    ("body", "paginator"),
    [
        (lambda _: {"items": ITEMS, "paging": {"next": {"after": "same"}}}, NextToken("paging.next.after", "after")),
        (lambda request: {"items": ITEMS, "next": "/items?x=1"}, NextLink("next")),
        (lambda _: {"items": ITEMS}, PageNumber("items")),
        (lambda _: {"items": ITEMS}, Offset("items")),
    ],
)
def test_a_page_that_leads_nowhere_new_is_an_error(
    api, client, body: Callable[[Request], dict[str, object]], paginator: Paginator
):
    api.route("GET", "/items", body)
    with pytest.raises(ConnectorError, match=r"circle|stands still"):
        list(read_pages(client, "/items", paginator))
    assert len(api.requests) <= 3


@pytest.mark.parametrize("paginator", [NextToken("a.b", "after"), NextLink("a.b"), PageNumber("items"), Offset("items")])
@pytest.mark.parametrize("body", [{}, [], {"a": None, "items": []}, {"a": [1], "items": "odd"}, {"a": {"b": ""}}])
def test_an_empty_or_odd_reply_ends_the_read(api, client, paginator, body):
    api.route("GET", "/items", lambda _: Answer(200, body))
    assert len(list(read_pages(client, "/items", paginator))) == 1


def test_a_next_link_to_another_host_is_refused(api, client):
    api.route("GET", "/items", lambda _: {"next": "https://evil.example.com/steal"})
    with pytest.raises(ConnectorError, match="another host"):
        list(read_pages(client, "/items", NextLink("next")))


@pytest.mark.parametrize(("path", "value"), [("a.b.c", 1), ("a.b", {"c": 1}), ("a.x.c", None), ("a.b.c.d", None)])
def test_dig_finds_a_value_or_none(path, value):
    assert dig({"a": {"b": {"c": 1}}}, path) == value
