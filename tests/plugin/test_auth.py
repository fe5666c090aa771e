"""Credentials: what goes into the request, when they are renewed, and that they stay hidden."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import timedelta

import pytest

from kpid.errors import AuthError, ConnectorError, DeferredError
from kpid.plugin import (
    BasicAuth,
    BearerAuth,
    ClientCredentials,
    HeaderAuth,
    HttpClient,
    HttpFailure,
    MemoryKeep,
    OAuth,
    RefreshToken,
    Secret,
    SessionAuth,
    bound,
)
from kpid.testing import Answer, FakeApi, FakeClock, Request, faults


@pytest.mark.parametrize(
    ("auth", "header", "value"),
    [
        (BearerAuth(Secret("tok-1\n")), "Authorization", "Bearer tok-1"),
        (HeaderAuth("X-Api-Key", Secret("key-1")), "X-Api-Key", "key-1"),
        (BasicAuth("ada", Secret("pä:ss")), "Authorization", "Basic " + base64.b64encode("ada:pä:ss".encode()).decode()),
    ],
)
def test_fixed_credentials_are_sent_and_never_renewed(auth, header, value):
    assert auth.headers() == {header: value}
    assert auth.refresh() is False
    assert auth.secrets()


@pytest.mark.parametrize("token", ["", "  ", "a\nb", "tök"])
def test_a_token_that_cannot_be_one_is_refused(token):
    with pytest.raises(AuthError, match="token"):
        BearerAuth(Secret(token))


class TokenServer:
    """Gives tokens t1, t2 ...; rotates refresh tokens r0, r1 ... and refuses used ones."""

    def __init__(self, api: FakeApi, *, expires_in: object = 1800) -> None:
        self.given = 0
        self.expires_in = expires_in
        self.forms: list[dict[str, str]] = []
        api.route("POST", "/oauth/token", self.token)
        api.route("GET", "/deals", self.deals)

    def token(self, request: Request) -> Answer:
        form = request.form()
        self.forms.append(form)
        if form["grant_type"] == "refresh_token" and form["refresh_token"] != f"r{self.given}-rotating":
            return Answer(400, {"error": "invalid_grant", "error_description": f"used {form['refresh_token']}"})
        self.given += 1
        body = {"access_token": f"access-{self.given}", "expires_in": self.expires_in, "refresh_token": f"r{self.given}-rotating"}
        return Answer(200, body)

    def deals(self, request: Request) -> Answer:
        good = request.headers["Authorization"] == f"Bearer access-{self.given}"
        return Answer(200, {}) if good else Answer(401, {"message": "expired " + request.headers["Authorization"]})


@pytest.fixture
def api() -> Iterator[FakeApi]:
    with FakeApi(FakeClock()) as api:
        yield api


@pytest.fixture
def tokens(api: FakeApi) -> Iterator[HttpClient]:
    with HttpClient(api.url, name="crm", clock=api.clock, allow_private=True, max_tries=2) as client:
        yield client


def deals_client(api: FakeApi, auth: OAuth) -> HttpClient:
    return HttpClient(api.url, name="crm", clock=api.clock, allow_private=True, max_tries=2, auth=auth)


def test_client_credentials_are_exchanged_once_and_again_before_they_expire(api, tokens):
    server = TokenServer(api)
    auth = OAuth(tokens, "/oauth/token", ClientCredentials("id-1", Secret("secret-1"), scope="crm"), clock=api.clock)
    with deals_client(api, auth) as client:
        client.get("/deals")
        client.get("/deals")
        assert server.forms == [
            {"grant_type": "client_credentials", "client_id": "id-1", "client_secret": "secret-1", "scope": "crm"}
        ]
        api.clock.advance(timedelta(seconds=1741))
        client.get("/deals")
    assert server.given == 2
    assert all(request.path != "/deals" or "access" in request.headers["Authorization"] for request in api.requests)


@pytest.mark.parametrize("expires_in", [None, "soon", "3600", -1])
def test_an_odd_lifetime_is_borne(api, tokens, expires_in):
    server = TokenServer(api, expires_in=expires_in)
    with deals_client(api, OAuth(tokens, "/oauth/token", ClientCredentials("i", Secret("s3cret")), clock=api.clock)) as client:
        client.get("/deals")
        api.clock.advance(timedelta(minutes=20))
        client.get("/deals")
    assert server.given == 1


def test_a_refused_token_is_renewed_once(api, tokens):
    server = TokenServer(api)
    with deals_client(api, OAuth(tokens, "/oauth/token", ClientCredentials("i", Secret("s3cret")), clock=api.clock)) as client:
        client.get("/deals")
        server.given += 1  # the server forgot our token
        client.get("/deals")
        assert server.given == 3


def test_a_rotated_refresh_token_is_stored_before_the_access_token_is_used(api, tokens):
    TokenServer(api)
    stored: list[tuple[str, int]] = []
    grant = RefreshToken(
        "i", Secret("s3cret"), Secret("r0-rotating"),
        on_rotated=lambda token: stored.append((token.get_secret_value(), len([r for r in api.requests if r.path == "/deals"]))),
    )  # fmt: skip
    with deals_client(api, OAuth(tokens, "/oauth/token", grant, clock=api.clock)) as client:
        client.get("/deals")
        api.clock.advance(timedelta(hours=1))
        client.get("/deals")
    assert stored == [("r1-rotating", 0), ("r2-rotating", 1)]


def test_a_withdrawn_consent_is_an_error_for_a_person_without_the_token(api, tokens):
    TokenServer(api)
    grant = RefreshToken("i", Secret("s3cret"), Secret("long-gone-token"))
    with deals_client(api, OAuth(tokens, "/oauth/token", grant, clock=api.clock)) as client, pytest.raises(AuthError) as caught:
        client.get("/deals")
    assert "invalid_grant" in str(caught.value)
    assert "long-gone-token" not in str(caught.value)
    assert len(api.requests) == 1


def test_a_token_server_that_is_down_is_transient(api, tokens):
    TokenServer(api)
    api.fail(faults.status(503), times=9)
    with deals_client(api, OAuth(tokens, "/oauth/token", ClientCredentials("i", Secret("s3cret")), clock=api.clock)) as client:
        with pytest.raises(HttpFailure) as caught:
            client.get("/deals")
        assert caught.value.transient


def test_a_token_server_that_is_busy_defers(api, tokens):
    TokenServer(api)
    api.fail(faults.limited("600"))
    auth = OAuth(tokens, "/oauth/token", ClientCredentials("i", Secret("s3cret")), clock=api.clock)
    with deals_client(api, auth) as client, pytest.raises(DeferredError):
        client.get("/deals")


def test_an_answer_without_a_token_is_an_error(api, tokens):
    api.route("POST", "/oauth/token", lambda _: {"token": "x"})
    auth = OAuth(tokens, "/oauth/token", ClientCredentials("i", Secret("s3cret")), clock=api.clock)
    with deals_client(api, auth) as client, pytest.raises(AuthError, match="no access token"):
        client.get("/deals")


def test_a_rotated_refresh_token_outlives_the_process(api):
    TokenServer(api)
    keep, configured = MemoryKeep(), Secret("r0-rotating")
    for number in (1, 2, 3):  # each a sync of its own, configured with the first token
        with HttpClient(api.url, name="crm", clock=api.clock, allow_private=True) as token_client:
            grant = RefreshToken("app", Secret("app-secret"), configured, keep=keep)
            auth = OAuth(token_client, "/oauth/token", grant, clock=api.clock)
            assert auth.headers() == {"Authorization": f"Bearer access-{number}"}
            assert auth.answer["refresh_token"] == f"r{number}-rotating"
            assert {"app-secret", "r0-rotating", f"r{number}-rotating"} <= set(auth.secrets())


def test_a_token_that_another_process_rotated_meanwhile_is_taken(api):
    server, keep, configured = TokenServer(api), MemoryKeep(), Secret("r0-rotating")

    def rotate_beside(request: Request, answer: Answer) -> Answer:
        server.given += 1  # the other process was first: ours is void
        keep.put(bound("refresh_token", configured), Secret(f"r{server.given}-rotating"))
        return Answer(400, {"error": "invalid_grant"})

    api.fail(rotate_beside)
    with HttpClient(api.url, name="crm", clock=api.clock, allow_private=True) as token_client:
        grant = RefreshToken("app", Secret("app-secret"), configured, keep=keep)
        assert OAuth(token_client, "/oauth/token", grant, clock=api.clock).headers()
    assert [form["refresh_token"] for form in server.forms] == ["r0-rotating", "r2-rotating"]


def test_tokens_are_found_in_the_vendors_own_words(api):
    api.route("POST", "/Authenticate", lambda _: {"authToken": "jwt-12345", "expiresIn": 60})
    with HttpClient(api.url, name="crm", clock=api.clock, allow_private=True) as client:
        grant = ClientCredentials("app", Secret("app-secret"))
        auth = OAuth(
            client, "/Authenticate", grant, clock=api.clock,
            tokens_in=lambda answer: {"access_token": answer["authToken"], "expires_in": answer["expiresIn"]},
        )  # fmt: skip
        assert auth.headers() == {"Authorization": "Bearer jwt-12345"}
        api.clock.advance(timedelta(seconds=31))
        auth.headers()
    assert len(api.requests) == 2


def test_a_vendor_may_say_more_of_a_refusal(api):
    api.route("POST", "/token", lambda _: Answer(401, {"error_codes": [7000222]}))
    with HttpClient(api.url, name="crm", clock=api.clock, allow_private=True) as client:
        auth = OAuth(
            client, "/token", ClientCredentials("app", Secret("app-secret")), clock=api.clock,
            refused=lambda response: AuthError("the secret has expired") if response.json()["error_codes"] else None,
        )  # fmt: skip
        with pytest.raises(AuthError):
            auth.headers()


@pytest.mark.parametrize(
    ("fault", "what"),
    [
        (
            faults.redirected("https://login.example.com/token?state=app-secret"),
            "was redirected to https://login.example.com/token",
        ),
        (faults.redirected("/moved", 307), "was redirected to http://127.0.0.1"),
        (faults.status(404), "answered 404: it is not there"),
        (faults.status(405), "answered 405: it is not there"),
    ],
)
def test_a_login_at_a_wrong_address_is_not_told_as_refused_credentials(api, fault, what):
    api.route("POST", "/token", lambda _: {})
    api.fail(fault, times=9)
    with HttpClient(api.url, name="crm", clock=api.clock, allow_private=True) as client:
        auth = OAuth(client, "/token", ClientCredentials("app", Secret("app-secret")), clock=api.clock)
        with pytest.raises(AuthError) as caught:
            auth.headers()
    assert what in caught.value.what
    assert "refused" not in str(caught.value)
    assert "app-secret" not in str(caught.value)
    assert "address of the login" in caught.value.hint
    assert len(api.requests) == 1


def test_a_refusal_with_a_code_is_one_whatever_its_status(api):
    api.route("POST", "/token", lambda _: Answer(404, {"error": "invalid_client"}))
    with HttpClient(api.url, name="crm", clock=api.clock, allow_private=True) as client:
        auth = OAuth(client, "/token", ClientCredentials("app", Secret("app-secret")), clock=api.clock)
        with pytest.raises(AuthError, match=r"refused our credentials \(invalid_client\)"):
            auth.headers()


class Login:
    def __init__(self):
        self.times = 0

    def __call__(self):
        self.times += 1
        return {"Cookie": f"pwd=session-{self.times}; lang=en", "X-Key": "Token key-12345"}


def test_a_session_is_opened_once_and_anew_when_it_is_old_or_refused():
    clock, login = FakeClock(), Login()
    auth = SessionAuth(login, clock, timedelta(minutes=10), secrets=[Secret("pass-word")])
    assert auth.headers()["Cookie"] == auth.headers()["Cookie"] == "pwd=session-1; lang=en"
    clock.advance(timedelta(minutes=9, seconds=1))
    assert auth.headers()["Cookie"] == "pwd=session-2; lang=en"
    assert auth.refresh() is True
    assert auth.headers()["Cookie"] == "pwd=session-3; lang=en"
    assert {"pass-word", "session-3", "key-12345"} <= set(auth.secrets())


def test_a_rolling_session_holds_as_long_as_it_is_used():
    clock, login = FakeClock(), Login()
    auth = SessionAuth(login, clock, timedelta(minutes=2), rolling=True)
    for _ in range(5):
        auth.headers()
        clock.advance(timedelta(seconds=50))
    assert login.times == 1
    clock.advance(timedelta(minutes=2))
    auth.headers()
    assert login.times == 2


@pytest.mark.parametrize("status", [400, 401, 403, 500])
def test_a_refusal_that_quotes_what_we_sent_is_not_passed_on(api, status):
    api.route("POST", "/token", lambda request: Answer(status, {"error": "invalid_client", "message": request.body.decode()}))
    with HttpClient(api.url, name="crm", clock=api.clock, allow_private=True) as client:
        auth = OAuth(client, "/token", ClientCredentials("app", Secret("app-secret")), clock=api.clock)
        with pytest.raises(ConnectorError) as caught:
            auth.headers()
    seen = caught.value
    while seen is not None:
        assert "app-secret" not in f"{seen!s}{vars(seen)}"
        seen = seen.__cause__ or seen.__context__
