"""The test kit's server and clock: they do what tests rely on."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pytest

from kpid.plugin import HttpClient
from kpid.testing import Answer, FakeApi, FakeClock, faults


@pytest.fixture
def api() -> Iterator[FakeApi]:
    with FakeApi(FakeClock()) as api:
        yield api


@pytest.fixture
def client(api: FakeApi) -> Iterator[HttpClient]:
    with HttpClient(api.url, name="crm", clock=api.clock, allow_private=True, max_tries=1) as client:
        yield client


def test_clock_moves_only_when_told():
    clock = FakeClock(datetime(2026, 1, 1, tzinfo=UTC))
    clock.sleep(90)
    clock.advance(timedelta(hours=1))
    assert clock.now() == datetime(2026, 1, 1, 1, 1, 30, tzinfo=UTC)
    assert clock.monotonic() == 3690
    assert clock.sleeps == [90]
    clock.set(datetime(2027, 1, 1, tzinfo=UTC))
    assert clock.now().year == 2027


def test_routes_answer_and_requests_are_remembered(api, client):
    api.route("POST", r"/things/(?P<id>\d+)", lambda request: {"id": request.match["id"], "got": request.json()})
    assert client.post("/things/17", params={"x": ["1", "2"]}, json={"a": 1}).json() == {"id": "17", "got": {"a": 1}}
    (request,) = api.requests
    assert (request.query["x"], request.arg("y", "none")) == (["1", "2"], "none")
    assert api.calls == {r"POST /things/(?P<id>\d+)": 1}


def test_an_unknown_resource_is_404(api, client):
    assert client.request_raw("GET", "/nowhere").status == 404


def test_faults_hit_as_often_and_where_they_are_planned(api, client):
    api.route("GET", "/a", lambda _: Answer(200, {}))
    api.route("GET", "/b", lambda _: Answer(200, {}))
    api.fail(faults.status(503), times=2, path="b$")
    assert [client.request_raw("GET", path).status for path in ("/a", "/b", "/a", "/b", "/b")] == [200, 503, 200, 503, 200]
    api.fail(faults.status(500), times=9)
    api.forgive()
    assert client.request_raw("GET", "/a").status == 200


def test_the_date_is_the_clocks(api, client):
    api.route("GET", "/a", lambda _: {})
    api.clock.advance(timedelta(days=3))
    assert client.get("/a").date == api.clock.now()


def test_a_page_can_be_given_twice(api, client):
    pages = iter("ab")
    api.route("GET", "/a", lambda _: {"page": next(pages)})
    api.fail(faults.once_more([]), times=2)
    assert [client.get("/a").json()["page"] for _ in range(2)] == ["a", "a"]


def test_the_kit_needs_no_pytest():
    code = "import sys; sys.modules['pytest'] = None; import kpid.testing, kpid.testing.hubspot; print('ok')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "ok", done.stderr


def test_a_request_whose_client_died_while_writing_it_never_arrived(api):
    api.route("POST", "/hook", lambda request: {})
    address = urlsplit(api.url)
    with socket.create_connection((address.hostname, address.port)) as client:
        client.sendall(b"POST /hook HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf")
        client.shutdown(socket.SHUT_WR)
        assert client.recv(100) == b"", "no answer to half a request"
    assert api.requests == []
