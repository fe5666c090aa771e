"""The client against a server that misbehaves in every way we have read about."""

from __future__ import annotations

import random
import shutil
import ssl
import subprocess
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from kpid.errors import AuthError, ConfigError, DeferredError
from kpid.plugin import BearerAuth, HttpClient, HttpFailure, RateLimit, Response, Secret
from kpid.plugin.hosts import is_public
from kpid.testing import Answer, FakeApi, FakeClock, Request, faults

TOKEN = "pat-secret-1234567890"


@pytest.fixture
def api() -> Iterator[FakeApi]:
    with FakeApi(FakeClock()) as api:
        api.route("GET", "/things", lambda _: {"things": [1, 2, 3]})
        api.route("POST", "/things", lambda request: {"got": request.json()})
        yield api


@pytest.fixture
def connect(api: FakeApi) -> Iterator[Callable[..., HttpClient]]:
    made: list[HttpClient] = []

    def connect(**options: object) -> HttpClient:
        settings = {
            "name": "crm", "clock": api.clock, "allow_private": True, "rng": random.Random(7), "auth": BearerAuth(Secret(TOKEN)),
        } | options  # fmt: skip
        made.append(HttpClient(str(settings.pop("base_url", api.url)), **settings))  # type: ignore[arg-type]
        return made[-1]

    yield connect
    for client in made:
        client.close()


def test_get_gives_json_and_the_servers_date(api, connect):
    response = connect().get("/things", params={"a": "x y"})
    assert response.json() == {"things": [1, 2, 3]}
    assert response.date == api.clock.now()
    assert api.requests[0].headers["Authorization"] == f"Bearer {TOKEN}"
    assert api.requests[0].arg("a") == "x y"


def test_fractions_stay_exact(api, connect):
    api.route("GET", "/amount", lambda _: Answer(200, '{"amount": 0.1}'))
    assert str(connect().get("/amount").json()["amount"]) == "0.1"


@pytest.mark.parametrize(
    "fault",
    [
        faults.status(500), faults.status(503), faults.status(408), faults.status(524), faults.bad_gateway(), faults.html_ok(),
        faults.cut(), faults.half(), faults.reset(), faults.limited(None),
    ],
)  # fmt: skip
def test_get_tries_again_after_a_passing_fault(api, connect, fault):
    api.fail(fault, times=2)
    assert connect().get("/things").json() == {"things": [1, 2, 3]}
    assert len(api.requests) == 3
    assert len(api.clock.sleeps) == 2


@pytest.mark.parametrize(
    "fault", [faults.status(500), faults.cut(), faults.half(), faults.html_ok(), faults.reset(), faults.limited(None)]
)
def test_get_gives_up_after_its_tries(api, connect, fault):
    api.fail(fault, times=99)
    with pytest.raises(HttpFailure) as caught:
        connect().get("/things")
    assert caught.value.transient
    assert len(api.requests) == 5


@pytest.mark.parametrize(
    ("status", "kind"), [(400, HttpFailure), (404, HttpFailure), (409, HttpFailure), (403, AuthError), (501, HttpFailure)]
)
def test_get_does_not_repeat_what_cannot_help(api, connect, status, kind):
    api.fail(faults.status(status, {"message": f"no way with {TOKEN}"}))
    with pytest.raises(kind, match=r"no way with \*\*\*") as caught:
        connect().get("/things")
    assert not caught.value.transient
    assert len(api.requests) == 1
    assert api.clock.sleeps == []


def test_retry_after_in_seconds_is_obeyed(api, connect):
    api.fail(faults.limited("7"))
    connect().get("/things")
    assert api.clock.sleeps == [7.0]


def test_retry_after_as_a_date_is_measured_by_the_servers_clock(api, connect):
    ours = FakeClock(api.clock.now() - timedelta(hours=3))
    api.fail(faults.limited("Fri, 20 Nov 2026 09:00:30 GMT"))
    connect(clock=ours).get("/things")
    assert ours.sleeps == [30.0]


@pytest.mark.parametrize("nonsense", ["soon", "", "-5", "nan"])
def test_retry_after_that_is_nonsense_does_no_harm(api, connect, nonsense):
    api.fail(faults.limited(nonsense))
    assert connect().get("/things").ok
    assert sum(api.clock.sleeps) <= 60


def test_a_long_pause_defers_the_source(api, connect):
    api.fail(faults.limited("3600"))
    with pytest.raises(DeferredError) as caught:
        connect().get("/things")
    assert caught.value.until == api.clock.now() + timedelta(hours=1)
    assert api.clock.sleeps == []


def test_an_absurd_pause_is_capped(api, connect):
    api.fail(faults.limited("9" * 40))
    with pytest.raises(DeferredError) as caught:
        connect().get("/things")
    assert caught.value.until <= api.clock.now() + timedelta(days=7)


def test_a_limit_that_stays_defers_the_source(api, connect):
    api.fail(faults.limited("2"), times=99)
    with pytest.raises(DeferredError):
        connect().get("/things")
    assert api.clock.sleeps == [2.0] * 4


def test_the_vendors_own_reset_is_used_where_there_is_no_retry_after(api, connect):
    def reset_in(response: Response) -> timedelta:
        return timedelta(seconds=int(response.headers["x-reset"]))

    api.fail(faults.status(429, headers={"X-Reset": "11"}))
    connect(wait_hook=reset_in).get("/things")
    assert api.clock.sleeps == [11.0]


def test_pauses_grow_and_are_random(api, connect):
    api.fail(faults.status(500), times=4)
    connect().get("/things")
    pauses = api.clock.sleeps
    assert all(0 <= pause <= 2 ** (number + 1) for number, pause in enumerate(pauses))
    assert len(set(pauses)) == 4


def test_401_refreshes_once_and_repeats_once(api, connect):
    auth = RenewableAuth()
    api.route("GET", "/guarded", lambda request: guarded(request, "Bearer t1"))
    assert connect(auth=auth).get("/guarded").ok
    assert auth.refreshed == 1
    assert [request.headers["Authorization"] for request in api.requests] == ["Bearer t0", "Bearer t1"]


def test_401_after_the_refresh_is_final(api, connect):
    auth = RenewableAuth()
    api.route("GET", "/guarded", lambda request: guarded(request, "Bearer never"))
    with pytest.raises(AuthError) as caught:
        connect(auth=auth).get("/guarded")
    assert auth.refreshed == 1
    assert len(api.requests) == 2
    assert caught.value.hint


class RenewableAuth:
    refreshed = 0

    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer t{self.refreshed}"}

    def refresh(self) -> bool:
        self.refreshed += 1
        return True

    def secrets(self) -> tuple[str, ...]:
        return ()


def guarded(request: Request, wanted: str) -> Answer:
    return Answer(200, {}) if request.headers["Authorization"] == wanted else Answer(401, {"message": "expired"})


def test_limits_are_kept_in_every_span(api, connect):
    client = connect(limits=(RateLimit(3, 10.0), RateLimit(2, 1.0)))
    sent = []
    for _ in range(10):
        client.get("/things")
        sent.append(api.clock.monotonic())
    for limit, per in ((3, 10.0), (2, 1.0)):
        assert all(later - earlier >= per for earlier, later in zip(sent, sent[limit:], strict=False))
    assert sent[-1] < 35


def test_a_redirect_on_the_same_host_is_followed(api, connect):
    api.fail(faults.redirected("/things"), path="/old")
    assert connect().get("/old").ok


@pytest.mark.parametrize(
    "target", ["https://evil.example.com/x", "//evil.example.com/x", "ftp://127.0.0.1/x", "http://127.0.0.1:1/x"]
)
def test_a_redirect_to_another_host_is_refused(api, connect, target):
    api.fail(faults.redirected(target))
    with pytest.raises(HttpFailure, match="another host") as caught:
        connect().get("/things")
    assert not caught.value.transient
    assert len(api.requests) == 1


def test_a_redirect_of_a_post_is_told_and_not_followed(api, connect):
    api.fail(faults.redirected("https://other.example.com/things?token=abcd1234"))
    with pytest.raises(HttpFailure, match="was redirected to https://other") as caught:
        connect().post("/things", json={"a": 1})
    assert "abcd1234" not in str(caught.value)
    assert (caught.value.status, caught.value.transient, len(api.requests)) == (302, False, 1)


def test_an_allowed_redirect_goes_without_credentials(api, connect):
    with FakeApi() as other:
        other.route("GET", "/file", lambda _: {})
        api.fail(faults.redirected(other.url + "/file"))
        with pytest.raises(HttpFailure, match="another host"):  # http, so not even an allowed host
            connect(redirect_hosts=["127.0.0.1"]).get("/things")
        assert other.requests == []


def test_a_redirect_in_a_circle_ends(api, connect):
    api.fail(faults.redirected("/things"), times=99)
    with pytest.raises(HttpFailure, match="circle"):
        connect().get("/things")
    assert len(api.requests) == 6


@pytest.mark.parametrize(
    "link",
    [
        "https://evil.example.com/next", "http://127.0.0.1:1/next", "http://user@127.0.0.1/next", "file:///etc/passwd", "gopher://x/",
        "https://127.0.0.1\\@evil/",
    ],
)  # fmt: skip
def test_a_next_link_to_another_host_is_refused_before_anything_is_sent(api, connect, link):
    with pytest.raises(HttpFailure) as caught:
        connect().get(link)
    assert not caught.value.sent
    assert not caught.value.transient
    assert api.requests == []


def test_a_next_link_on_our_own_host_is_taken_as_it_is(api, connect):
    assert connect().get(api.url + "/things?after=%3D1").ok
    assert api.requests[0].arg("after") == "=1"


@pytest.mark.parametrize("path", ["/x\r\nX-Evil: 1", "/x y", "/x\x00"])
def test_a_path_with_control_characters_is_refused(api, connect, path):
    with pytest.raises(HttpFailure, match="control characters"):
        connect().get(path)
    assert api.requests == []


@pytest.mark.parametrize(
    "base", ["http://crm.example.com", "crm.example.com", "ftp://x", "https://u:p@crm.example.com", "https://", "https://a b"]
)
def test_a_base_address_that_is_unsafe_is_refused(base):
    with pytest.raises(ConfigError):
        HttpClient(base, name="crm", clock=FakeClock())


def test_a_private_address_is_refused_unless_allowed(api, connect):
    with pytest.raises(HttpFailure, match="private address") as caught:
        connect(base_url=api.url.replace("http:", "https:"), allow_private=False).get("/things")
    assert "allow_private" in str(caught.value)
    assert not caught.value.sent
    assert api.requests == []


@pytest.mark.parametrize(
    "address", ["169.254.169.254", "::1", "10.0.0.1", "fd00::1", "fe80::1%eth0", "::ffff:10.0.0.1", "0.0.0.0", "224.0.0.1"]
)
def test_inner_addresses_are_not_public(address):
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111"])
def test_outer_addresses_are_public(address):
    assert is_public(address)


def test_gzip_is_read(api, connect):
    api.fail(faults.compressed())
    assert connect().get("/things").json() == {"things": [1, 2, 3]}


@pytest.mark.parametrize("packed", [False, True])
def test_a_body_that_is_too_large_is_refused(api, connect, packed):
    api.route("GET", "/big", lambda _: Answer(200, "x" * 300_000, gzip=packed))
    with pytest.raises(HttpFailure, match="more than 100,000 bytes"):
        connect(max_bytes=100_000).get("/big")
    assert len(api.requests) == 1


def test_a_body_that_drips_is_given_up(api, connect):
    api.fail(faults.drip(lambda: api.clock.advance(timedelta(seconds=30))))
    with pytest.raises(HttpFailure, match="longer than 120 s"):
        connect(total=120, max_tries=1).get("/things")


def test_a_server_that_is_silent_times_out(api, connect):
    api.fail(faults.silence(), times=2)
    with pytest.raises(HttpFailure, match=r"no answer within 0\.05 s") as caught:
        connect(timeout=(1.0, 0.05), max_tries=2).get("/things")
    assert caught.value.unknown


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A server with a certificate of its own making: its address and the certificate's file."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl here to make a certificate with")
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    make = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "3650"]
    subprocess.run([openssl, *make, *subject, "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    with FakeApi(FakeClock(), tls=context) as api:
        api.route("GET", "/things", lambda _: {"things": []})
        yield api.url, cert


def test_a_certificate_nobody_knows_is_refused_before_anything_is_sent(secure):
    url, _ = secure
    client = HttpClient(url, name="crm", clock=FakeClock(), allow_private=True)
    with client, pytest.raises(HttpFailure, match="not trusted") as caught:
        client.get("/things")
    assert "ca_file" in str(caught.value)
    assert not caught.value.sent
    assert not caught.value.transient


def test_a_companys_own_authority_is_trusted_when_named(secure):
    url, cert = secure
    with HttpClient(url, name="crm", clock=FakeClock(), allow_private=True, ca_file=cert) as client:
        assert client.get("/things").ok


def test_the_environment_cannot_replace_a_named_authority(secure, monkeypatch, tmp_path):
    url, cert = secure
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "nothing.pem"))
    with HttpClient(url, name="crm", clock=FakeClock(), allow_private=True, ca_file=cert) as client:
        assert client.get("/things").ok


def test_an_empty_answer_is_an_empty_one(api, connect):
    api.route("GET", "/nothing", lambda _: Answer(204))
    assert connect().get("/nothing").json() is None


def test_the_error_hook_says_what_a_vendors_error_means(api, connect):
    api.fail(faults.status(400, {"code": "GONE"}))
    with pytest.raises(DeferredError, match="tomorrow"):
        connect(error_hook=lambda response: DeferredError("tomorrow", api.clock.now())).get("/things")


@pytest.mark.parametrize("body", [{"json": {"a": 1}}, {"data": b'{"a": 1}'}])
@pytest.mark.parametrize("status", [200, 302, 400, 404, 429, 500])
def test_raw_returns_every_status_after_one_attempt(api, connect, status, body):
    api.fail(faults.status(status, {"x": 1}, {"Location": "/things", "Retry-After": "3"}))
    response = connect().request_raw("POST", "/things", **body)
    assert api.requests[0].json() == {"a": 1}
    assert (response.status, response.json(), response.headers["retry-after"]) == (status, {"x": 1}, "3")
    assert len(api.requests) == 1
    assert api.clock.sleeps == []


@pytest.mark.parametrize("body", [{"json": {}}, {"data": b"{}"}])
@pytest.mark.parametrize("fault", [faults.reset(), faults.cut(), faults.silence()])
def test_raw_says_unknown_when_the_answer_was_lost(api, connect, fault, body):
    api.fail(fault)
    with pytest.raises(HttpFailure) as caught:
        connect(timeout=(1.0, 0.05)).request_raw("POST", "/things", **body)
    assert caught.value.unknown
    assert caught.value.sent


@pytest.mark.parametrize("body", [{"json": {}}, {"data": b"{}"}])
def test_raw_says_not_sent_when_nobody_listens(connect, body):
    with pytest.raises(HttpFailure) as caught:
        connect(base_url="http://127.0.0.1:1").request_raw("POST", "/things", **body)
    assert not caught.value.unknown
    assert not caught.value.sent


def test_bytes_go_with_our_headers_and_the_callers_own_win(api, connect):
    client = connect()
    for _ in range(3):
        assert client.request_raw("POST", "/things", data=b"{}", headers={"accept": "text/plain", "X-Key": "k"}).status == 200
    headers = {name.lower(): value for name, value in api.requests[-1].headers.items()}
    assert (headers["accept"], headers["x-key"], headers["content-length"]) == ("text/plain", "k", "2")
    assert headers["user-agent"].startswith("kpid/")
    assert headers["authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize("header", [{"X-Key": "a\r\nX-Other: b"}, {"X-Key\n": "a"}, {"X-Key": " a"}])
@pytest.mark.parametrize("body", [{"json": {}}, {"data": b"{}"}])
def test_header_that_would_begin_another_is_refused_before_anything_is_sent(api, connect, header, body):
    with pytest.raises(HttpFailure) as caught:
        connect().request_raw("POST", "/things", headers=header, **body)
    assert not caught.value.sent
    assert api.requests == []


def test_bytes_go_nowhere_private_unless_allowed(api, connect):
    with pytest.raises(HttpFailure, match="private address") as caught:
        connect(base_url=api.url.replace("http://", "https://"), allow_private=False).request_raw("POST", "/things", data=b"{}")
    assert not caught.value.sent


def test_bytes_go_to_addresses_with_letters_of_their_own(api, connect):
    api.route("POST", "/h%C3%B6k", lambda _: Answer(202))
    assert connect().request_raw("POST", "/h\u00f6k", data=b"{}").status == 202


def test_bytes_are_sent_only_to_whom_the_certificate_names(secure):
    url, cert = secure
    with HttpClient(url, name="crm", clock=FakeClock(), allow_private=True) as client:
        with pytest.raises(HttpFailure, match="not trusted") as caught:
            client.request_raw("POST", "/things", data=b"{}")
        assert not caught.value.sent
    with HttpClient(url, name="crm", clock=FakeClock(), allow_private=True, ca_file=cert) as client:
        assert client.request_raw("POST", "/things", data=b"{}").status in {404, 405}


def test_bytes_go_through_the_proxy_that_is_set(api, connect, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(HttpFailure, match="could not be reached"):
        connect().request_raw("POST", "/things", data=b"{}")
    assert api.requests == []


@pytest.mark.parametrize("ask", [lambda client: client.get("/things"), lambda client: client.post("/things", json={})])
def test_requests_go_through_the_proxy_that_is_set(api, connect, monkeypatch, ask):
    with FakeApi(FakeClock()) as proxy:
        for method in ("GET", "POST"):
            proxy.route(method, "/things", lambda _: {"by": "the proxy"})
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", "")
        assert ask(connect()).json() == {"by": "the proxy"}
    assert api.requests == []


def test_parameters_stand_in_the_address(api, connect):
    params = {"q": "a&b \u00f6", "many": ["1", 2], "none": None, "holes": [None, "x"], "yes": True, "number": 3}
    connect().get("/things?first=1", params=params)
    query = api.requests[0].query
    assert query == {"first": ["1"], "q": ["a&b \u00f6"], "many": ["1", "2"], "holes": ["x"], "yes": ["True"], "number": ["3"]}
    connect().get("/things", params=[("a", 1), ("a", 2)])
    assert api.requests[1].query == {"a": ["1", "2"]}
    connect().get("/things?first=1")
    assert api.requests[2].query == {"first": ["1"]}


def test_cookies_come_back_unless_a_request_has_its_own(api, connect):
    api.route("GET", "/login", lambda _: Answer(200, {}, {"Set-Cookie": "place=7; Path=/"}))
    client = connect()
    client.get("/login")
    client.get("/things")
    client.get("/things", headers={"Cookie": "own=1"})
    client.request_raw("POST", "/things", data=b"{}")
    assert [request.headers.get("Cookie") for request in api.requests] == [None, "place=7", "own=1", "place=7"]


def test_json_that_says_no_number_is_not_sent(api, connect):
    with pytest.raises(HttpFailure):
        connect().request_raw("POST", "/things", json={"a": float("nan")})
    assert api.requests == []


@pytest.mark.parametrize(
    ("data", "kind", "sent"),
    [
        ({"a": "\u00f6", "b": [1, 2]}, "application/x-www-form-urlencoded", b"a=%C3%B6&b=1&b=2"),
        ("\u00f6", None, b"\xc3\xb6"),
        (b"", None, b""),
    ],
)
def test_a_body_goes_as_what_it_is(api, connect, data, kind, sent):
    api.route("POST", "/any", lambda _: {})
    connect().request_raw("POST", "/any", data=data)
    assert (api.requests[0].headers.get("Content-Type"), api.requests[0].body) == (kind, sent)


def test_a_client_that_was_closed_opens_new_connections(api, connect):
    client = connect()
    client.get("/things")
    client.close()
    assert client.get("/things").status == 200


def test_errors_hold_no_secret(api, connect):
    hook = "T0000/B0000/verysecretpath"
    api.fail(faults.status(400, {"error": f"bad token {TOKEN} in {hook}"}), times=1)
    client = connect(secret_path=True, secrets=[hook], max_tries=1)
    with pytest.raises(HttpFailure) as answered:
        client.get(f"/services/{hook}")
    with pytest.raises(HttpFailure) as unreachable:
        connect(base_url="http://127.0.0.1:1", secret_path=True, secrets=[hook], max_tries=1).get(
            f"/services/{hook}", params={"api_key": TOKEN}
        )
    for caught in (answered, unreachable):
        chain = [caught.value, caught.value.__cause__, caught.value.__context__]
        text = " ".join(f"{error!s} {error!r}" for error in chain if error)
        assert TOKEN not in text
        assert "verysecretpath" not in text


def test_netrc_and_user_agent(api, connect, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    connect(auth=None).get("/things")
    assert "Authorization" not in api.requests[0].headers
    assert api.requests[0].headers["User-Agent"].startswith("kpid/")


def test_proxies_are_asked_for_once_per_client(api, connect, monkeypatch):
    client = connect(max_tries=1)
    client.get("/things")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "")
    assert client.get("/things").status == 200
    with pytest.raises(HttpFailure):
        connect(max_tries=1).get("/things")
