"""What a connector tells its client of a vendor: when a session is over, what an empty answer is, what each answer costs."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from kpid.errors import AuthError, DeferredError
from kpid.plugin import ApiSettings, Budget, HttpClient, HttpFailure, Pacers, RateLimit, SessionAuth, SourceContext
from kpid.testing import Answer, FakeApi, FakeClock, faults


@pytest.fixture
def api():
    with FakeApi(FakeClock()) as api:
        yield api


def connect(api, **options):
    return HttpClient(api.url, name="crm", clock=api.clock, allow_private=True, **options)


class Doors:
    """A server that says 404 to whoever is not logged in, and to paths that it does not know."""

    def __init__(self, api, *, opens=True):
        self.logins = 0
        self.opens = opens
        api.route("GET", "/deals", self.deals)

    def deals(self, request):
        good = self.opens and request.headers.get("Cookie") == f"pwd=session-{self.logins}"
        return {"data": []} if good else Answer(404, {"error": "at <server>/helpers/checkAuth.js"})

    def login(self):
        self.logins += 1
        return {"Cookie": f"pwd=session-{self.logins}"}


def is_logged_out(response):
    return response.status in {401, 404}


def test_another_status_may_mean_that_a_session_is_over(api):
    doors = Doors(api)
    auth = SessionAuth(doors.login, api.clock, timedelta(hours=1))
    with connect(api, auth=auth, expired=is_logged_out) as client:
        client.get("/deals")
        doors.logins += 1  # the server has forgotten us
        client.get("/deals")
    assert doors.logins == 3
    assert len(api.requests) == 3


def test_a_session_that_is_refused_again_is_an_auth_error(api):
    doors = Doors(api, opens=False)
    auth = SessionAuth(doors.login, api.clock, timedelta(hours=1))
    with connect(api, auth=auth, expired=is_logged_out) as client, pytest.raises(AuthError) as caught:
        client.get("/deals")
    assert caught.value.hint
    assert len(api.requests) == 2


def test_a_login_page_with_status_200_may_mean_it_too(api):
    with connect(api, expired=lambda response: b"<html" in response.content) as client:
        api.route("GET", "/deals", lambda _: {})
        api.fail(faults.html_ok(), times=9)
        with pytest.raises(AuthError):
            client.get("/deals")
    assert len(api.requests) == 1


def test_a_status_may_mean_that_nothing_is_there(api):
    api.route("GET", "/none", lambda _: Answer(204))
    with connect(api, empty_ok=(404,)) as client:
        assert client.get("/none").json() is None
        found = client.get("/unknown")
    assert (found.status, found.json()) == (404, None)


def test_every_answer_is_looked_at_and_may_stop_the_read(api):
    used = iter([10, 81])
    api.route("GET", "/deals", lambda _: Answer(200, {}, {"X-Used": str(next(used))}))
    budget = Budget(0.8, api.clock)
    with connect(api, after=lambda response: budget.told(int(response.headers["X-Used"]), 100)) as client:
        client.get("/deals")
        with pytest.raises(DeferredError, match="share"):
            client.get("/deals")


def test_a_post_has_headers_of_its_own(api):
    api.route("POST", "/query", lambda request: {"prefer": request.headers["Prefer"]})
    with connect(api) as client:
        assert client.post("/query", headers={"Prefer": "small pages"}).json() == {"prefer": "small pages"}


def test_the_client_goes_on_where_the_account_lives(api):
    with FakeApi(api.clock) as instance:
        instance.route("GET", "/deals", lambda _: {"here": True})
        with connect(api) as client:
            client.rebase(instance.url)
            assert client.get("/deals").json() == {"here": True}
    assert api.requests == []


@pytest.mark.parametrize(
    "url", ["https://evil.example.org", "https://example.com.evil.org", "https://notexample.com", "ftp://example.com", "x", ""]
)
def test_an_account_that_lives_elsewhere_is_not_followed(api, url):
    with connect(api) as client:
        with pytest.raises(AuthError, match="refused"):
            client.rebase(url, within=["example.com"])
        api.route("GET", "/deals", lambda _: {})
        client.get("/deals")
    assert len(api.requests) == 1


def test_an_address_without_tls_is_not_followed():
    with HttpClient("https://login.example.com", name="crm", clock=FakeClock()) as client:
        with pytest.raises(AuthError):
            client.rebase("http://eu.example.com", within=["example.com"])
        client.rebase("https://eu.example.com", within=["example.com"])


class CrmSettings(ApiSettings):
    """Settings of an invented vendor."""

    with_fields = ("deals",)


def context(clock, name, pacers):
    return SourceContext(name, ZoneInfo("UTC"), Path(), clock, pacers=pacers)


def test_sources_on_one_account_share_its_limits(api):
    api.route("GET", "/deals", lambda _: {})
    settings, pacers = CrmSettings(base_url=api.url, allow_private=True), Pacers()
    for name, account in (("crm", "a"), ("other", "a"), ("third", "b")):
        limits = [RateLimit(1, 10.0)]
        with settings.client(context(api.clock, name, pacers), vendor="invented", account=account, limits=limits) as client:
            client.get("/deals")
    assert api.clock.sleeps == [10.0]


def test_own_fields_are_for_entities_that_are_there():
    CrmSettings(base_url="https://x.example.com", fields={"deals": {"region": "Region__c"}})
    with pytest.raises(ValueError, match="no such entity: dolls; there are deals"):
        CrmSettings(base_url="https://x.example.com", fields={"dolls": {}})


def test_a_silent_server_is_waited_for_as_long_as_is_set(api):
    api.route("GET", "/deals", lambda _: Answer(manner="hang"))
    settings = CrmSettings(base_url=api.url, allow_private=True, read_timeout=0.1)
    client = settings.client(context(api.clock, "crm", Pacers()), vendor="v", account="a", max_tries=1)
    with client, pytest.raises(HttpFailure, match=r"gave no answer within 0\.1 s"):
        client.get("/deals")
