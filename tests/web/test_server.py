"""The pages over real sockets and a real store: what they do for people, and what they do not do for others."""

from __future__ import annotations

import re
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from urllib.parse import urlencode

import pytest

from kpid.analysis.tokens import LASTS, Claim, token_of
from kpid.commands.pressing import offer, pressed
from kpid.errors import ConfigError
from kpid.store import audit
from kpid.store import handling as store
from kpid.web.server import Answers, serving
from tests.commands.handled import CONFIG, NOW, SECRET, end, fire, opened, tell

HOST = "kpid.example.com"


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    with opened(tmp_path_factory.mktemp("web")) as app:
        yield app


@contextmanager
def served(app, answers=None):
    ours = Answers(partial(offer, app), lambda press: pressed(app, press, "web"), lambda: True)
    with serving(app.config.web, answers or ours) as port:
        yield Place(port)


@pytest.fixture(scope="module")
def place(app):
    with served(app) as place:
        yield place


class Place:
    """A browser, as far as needed: it says what it is told, byte by byte."""

    def __init__(self, port):
        self.port = port

    def raw(self, data, *, close=False):
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as line:
            line.sendall(data)
            if close:
                line.shutdown(socket.SHUT_WR)
            answer = b"".join(iter(partial(line.recv, 65_536), b""))
        head, _, body = answer.partition(b"\r\n\r\n")
        return (int(head.split(b" ", 2)[1]) if head else 0), head.decode(), body.decode()

    def ask(self, method, path, *headers, body=b"", host=HOST):
        lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *headers]
        return self.raw("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    def get(self, path, **options):
        return self.ask("GET", path, **options)

    def post(self, path, *headers, **form):
        body = urlencode(form).encode()
        kind = "Content-Type: application/x-www-form-urlencoded"
        return self.ask("POST", path, kind, f"Content-Length: {len(body)}", *headers, body=body)


NUMBERS = iter(range(100, 10_000))


def alert(app, **changes):
    """An alert of its own, and its number."""
    return fire(app, owner=f"crm:{next(NUMBERS)}", **changes)


def link(number, verb="ack", who="ada@example.com", secret=SECRET, expires=NOW + LASTS, subject=""):
    return "/a/" + token_of(Claim(verb, subject or f"episode:{number}", who, expires), secret)


def handling(app, number):
    with app.store.read() as conn:
        one = store.load_episode(conn, number)
        return one.handling, one.handled_by


def deeds(app, number):
    with app.store.read() as conn:
        return [(row.actor, row.via, row.action) for row in audit.list_audit(conn, subject=f"episode:{number}")]


# ---- what it is for


def test_looking_does_nothing_and_pressing_does(app, place):
    number = alert(app)
    path = link(number)
    status, head, body = place.get(path)
    assert status == 200
    assert f"{number}: few-wins, Owner crm:" in body
    assert "In the name of ada@example.com" in body
    assert handling(app, number) == ("open", "")
    assert deeds(app, number) == []
    status, _, body = place.post(path, do="ack", until="3d", comment="on it")
    assert status == 200
    assert "Acked by ada@example.com until" in body
    assert handling(app, number) == ("acked", "ada@example.com")
    assert deeds(app, number) == [("ada@example.com", "web", "ack")]
    assert "no-store" in head
    assert "no-referrer" in head
    assert "default-src 'none'" in head
    assert "frame-ancestors 'none'" in head


def test_style_of_the_page_is_the_one_that_the_policy_allows(app, place):
    import base64
    import hashlib

    _, head, body = place.get(link(alert(app)))
    style = re.search(r"<style>(.*?)</style>", body)[1]
    assert base64.b64encode(hashlib.sha256(style.encode()).digest()).decode() in head
    assert "<script" not in body


def test_second_press_changes_nothing_more(app, place):
    number = alert(app)
    path = link(number)
    place.post(path, do="ack", until="1d")
    place.post(path, do="ack", until="1d")
    assert handling(app, number) == ("acked", "ada@example.com")
    _, _, body = place.post(link(number, who="bob@example.com"), do="ack")
    assert "1 alert left as it was: ada@example.com was first" in body
    assert [actor for actor, *_ in deeds(app, number)] == ["bob@example.com", "ada@example.com", "ada@example.com"]


def test_one_press_takes_up_all_that_a_message_told_of(app, place):
    numbers = [alert(app) for _ in range(3)]
    with app.store.read() as conn:
        rows = [store.load_episode(conn, number) for number in numbers]
    tell(app, *((row.rule_uid, row.series_key, row.episode) for row in rows), flush_id="many")
    end(app, numbers[0])
    _, _, body = place.post(link(0, "snooze", subject="flush:many"), do="snooze", until="next")
    assert "2 alerts snoozed by ada@example.com until" in body
    assert "1 alert over already" in body
    assert [handling(app, number)[0] for number in numbers] == ["open", "snoozed", "snoozed"]


def test_who_reads_a_channel_says_who_he_is(app, place):
    number = alert(app)
    path = link(number, who="")
    assert "Your name" in place.get(path)[2]
    assert "say who you are" in place.post(path, do="ack")[2]
    assert handling(app, number)[0] == "open"
    place.post(path, do="ack", who="Ada")
    assert handling(app, number) == ("acked", "Ada (as written)"), "what anybody may write is not told as known"


def test_nobody_signs_for_another(app, place):
    number = alert(app)
    place.post(link(number, who="ada@example.com"), do="ack", who="boss@example.com")
    assert handling(app, number) == ("acked", "ada@example.com")


def test_silence_needs_its_comment(app, place):
    number = alert(app)
    assert "needs a comment" in place.post(link(number, "silence"), do="silence", until="8h")[2]
    assert "Silenced until" in place.post(link(number, "silence"), do="silence", until="8h", comment="a move")[2]
    with app.store.read() as conn:
        (one,) = store.list_silences(conn)
    assert (one.matchers, one.via) == ({"rule": ["few-wins"]}, "web")


@pytest.mark.parametrize("name", ["few*", "!few-wins", "few-win?"])
def test_silence_of_a_rule_named_like_a_pattern_does_not_spread(tmp_path, name):
    with opened(tmp_path, CONFIG.replace("name: few-wins", f'id: few-wins, name: "{name}"')) as app, served(app) as place:
        number = alert(app)
        answer = place.post(link(number, "silence"), do="silence", until="8h", comment="a move")
        assert "would match others" in answer[2]
        with app.store.read() as conn:
            assert store.list_silences(conn) == []


def test_health_is_said(app, place):
    assert place.get("/health")[0::2] == (200, "ok\n")
    sick = Answers(partial(offer, app), lambda press: "", lambda: False)
    with served(app, sick) as other:
        assert other.get("/health")[0] == 503


# ---- tokens that may do nothing


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"secret": "another-secret-of-32-letters-xyz"}, "damaged"),
        ({"expires": NOW}, "expired"),
        ({"subject": "episode:999999"}, "not known here"),
        ({"subject": "episode:-1"}, "not known here"),
        ({"subject": "flush:nothing"}, "not known here"),
        ({"subject": "rule:few-wins"}, "not known here"),
        ({"verb": "delete"}, "another version"),
    ],
)
def test_token_that_is_not_good_does_nothing(app, place, changes, says):
    number = alert(app)
    path = link(number, **changes)
    for status, _, body in (place.get(path), place.post(path, do=changes.get("verb", "ack"))):
        assert status == 400
        assert says in body
    assert handling(app, number)[0] == "open"


@pytest.mark.parametrize("verb", ["snooze", "silence", "unack", "", "ack; silence"])
def test_token_for_one_thing_does_no_other(app, place, verb):
    number = alert(app)
    status, _, body = place.post(link(number, "ack"), do=verb, until="1d", comment="x")
    assert status == 400
    assert "something else" in body
    assert handling(app, number)[0] == "open"


def test_until_that_cannot_be_is_refused(app, place):
    number = alert(app)
    assert place.post(link(number), do="ack", until="999999d")[0] == 400
    assert handling(app, number)[0] == "open"


@pytest.mark.parametrize("verb", ["ack", "snooze", "silence"])
@pytest.mark.parametrize("until", ["8d", "365d", "2027-06-01"])
def test_link_does_nothing_for_longer_than_its_page_offers(app, place, verb, until):
    number = alert(app)
    status, _, body = place.post(link(number, verb), do=verb, until=until, comment="x")
    assert status == 400
    assert "for longer than 7 days" in body
    assert handling(app, number)[0] == "open"
    assert place.post(link(number, verb), do=verb, until="7d", comment="x")[0] == 200


# ---- attacks


@pytest.mark.parametrize("host", ["evil.example.com", "", "kpid.example.com.evil.com", "kpid.example.com@evil.com", "10.0.0.1"])
def test_foreign_host_is_refused(app, place, host):
    assert place.get(link(alert(app)), host=host)[0] == 421


@pytest.mark.parametrize("method", ["HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "get", "post"])
def test_other_methods_are_refused(app, place, method):
    number = alert(app)
    status, head, _ = place.ask(method, link(number))
    assert status == 405
    assert "Allow: GET, POST" in head
    assert handling(app, number)[0] == "open"


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/a/", "/a", "/a/../../etc/passwd", "/../kpid.yml", "/a/%2e%2e/x", "//evil.com/a/x", "/static/x", "/a/x/y"),
        *("/health?x=1", "/HEALTH", "http://kpid.example.com/health", "/a/x?next=//evil.com"),
    ],
)
def test_there_are_no_other_pages(place, path):
    status, head, body = place.get(path)
    assert status == 404
    assert "passwd" not in body
    assert "Location" not in head


def test_cross_site_form_is_refused(app, place):
    number = alert(app)
    assert place.post(link(number), "Sec-Fetch-Site: cross-site", do="ack")[0] == 403
    assert handling(app, number)[0] == "open"


GOOD = "Content-Type: application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ([GOOD, "Content-Length: 6", "Transfer-Encoding: chunked"], b"0\r\n\r\n", 400),
        ([GOOD, "Content-Length: 6", "Content-Length: 60"], b"do=ack", 400),
        ([GOOD, "Content-Length: +6"], b"do=ack", 400),
        ([GOOD, "Content-Length: 0x6"], b"do=ack", 400),
        ([GOOD, "Content-Length: -1"], b"do=ack", 400),
        ([GOOD, "Content-Length: 6,6"], b"do=ack", 400),
        ([GOOD, "Content-Length : 6"], b"do=ack", 400),
        ([GOOD, "Content-Length: 6", " folded: x"], b"do=ack", 400),
        ([GOOD, "Content-Length: 6", "X: a\nHost: evil"], b"do=ack", 400),
        ([GOOD, "Content-Length: 6", "X: a\rb"], b"do=ack", 400),
        ([GOOD, "Content-Length: 6", f"Host: {HOST}"], b"do=ack", 400),
        ([GOOD], b"do=ack", 411),
        ([GOOD, "Content-Length: 9000"], b"", 413),
        ([GOOD, "Content-Length: 99999999999999"], b"", 400),
        (["Content-Type: application/json", "Content-Length: 14"], b'{"do": "ack"} ', 415),
        (["Content-Type: multipart/form-data; boundary=x", "Content-Length: 6"], b"do=ack", 415),
        ([GOOD, "Content-Length: 13"], b"do=ack&do=ack", 400),
        ([GOOD, "Content-Length: 8"], b"do=ack\xff\xfe", 400),
        ([GOOD, "Content-Length: 9"], b"do=%ff%fe", 400),
        ([GOOD, "Content-Length: 59"], b"&".join(b"f%d=1" % n for n in range(12)), 400),
    ],
)
def test_doubtful_form_is_refused(app, place, headers, body, status):
    number = alert(app)
    assert place.ask("POST", link(number), *headers, body=body)[0] == status
    assert handling(app, number)[0] == "open"


def test_second_request_behind_the_first_is_not_done(app, place):
    one, two = alert(app), alert(app)
    smuggled = f"POST {link(two)} HTTP/1.1\r\nHost: {HOST}\r\n{GOOD}\r\nContent-Length: 6\r\n\r\ndo=ack".encode()
    first = f"POST {link(one)} HTTP/1.1\r\nHost: {HOST}\r\n{GOOD}\r\nContent-Length: 6\r\n\r\ndo=ack".encode()
    _, _, body = place.raw(first + smuggled)
    assert body.count("<html") == 1
    assert (handling(app, one)[0], handling(app, two)[0]) == ("acked", "open")


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\r\n\r\n",
        b"\r\n\r\n",
        b"GET /a/\xff HTTP/1.1\r\nHost: kpid.example.com\r\n\r\n",
        b"GET /health HTTP/1.1\nHost: kpid.example.com\n\n",
        b"GET /health HTTP/1.1\r\nHost: kpid.example.com\r\nX: a\x00b\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: kpid.example.com\r\nContent-Length: 5\r\n\r\nhello",
        b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\nHost: kpid.example.com\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: kpid.example.com\r\n" + b"X: 1\r\n" * 100 + b"\r\n",
    ],
)
def test_what_is_no_request_is_refused(place, data):
    status, _, body = place.raw(data, close=True)
    assert status in {400, 431, 505}
    assert "Traceback" not in body


def test_nothing_hostile_comes_back_as_markup(app, place):
    bad = '"><script>alert(1)</script>'
    number = alert(app, names={"owner": bad}, segment={"owner": "x"})
    with app.store.write() as conn:
        store.put_off(conn, [number], by=bad, via="web", until=NOW + LASTS, comment=bad, now=NOW)
    path = link(number, who=bad)
    pages = [
        place.get(path)[2],
        place.post(path, do="ack", comment=bad, until=bad)[2],
        place.post(path, do="ack", comment=bad)[2],
    ]
    assert all("<script" not in page for page in pages)
    assert "&lt;script&gt;" in pages[0]


def test_token_is_in_no_log(app, place, caplog):
    caplog.set_level("DEBUG")
    path = link(alert(app))
    place.post(path, do="ack")
    place.post(path + "x", do="ack")
    assert path.removeprefix("/a/") not in caplog.text


def test_page_that_fails_harms_no_other(app, caplog):
    def broken(token):
        raise RuntimeError("a canary")

    with served(app, Answers(broken, lambda press: "", lambda: True)) as place:
        status, _, body = place.get(link(1))
        assert (status, "canary" in body) == (500, False)
        assert place.get("/health")[0] == 200
    caplog.clear()


def test_many_connections_are_served_while_some_say_nothing(app):
    """Thirty dumb clients keep their places only for so long, and a hundred others get their page."""
    with served(app) as place:
        dumb = [socket.create_connection(("127.0.0.1", place.port)) for _ in range(30)]
        for line in dumb:
            line.sendall(b"GET /health HTTP/1.1\r\n")
        with ThreadPoolExecutor(20) as pool:
            found = list(pool.map(lambda _: place.get("/health")[0], range(100)))
        assert found == [200] * 100
        answers = [line.makefile("rb").read() for line in dumb]
        assert all(b"408" in answer for answer in answers), "who says nothing is told so, and let go"
        for line in dumb:
            line.close()


def test_thousand_connections_do_not_stop_it(app):
    with served(app) as place:
        lines = [socket.create_connection(("127.0.0.1", place.port), timeout=60) for _ in range(120)]
        for _ in range(7):
            for line in lines:
                line.close()
            lines = [socket.create_connection(("127.0.0.1", place.port), timeout=60) for _ in range(120)]
        for line in lines:
            line.close()
        assert place.get("/health")[0] == 200


def test_address_that_is_taken_is_told(app):
    with served(app) as place:
        taken = app.config.web.model_copy(update={"listen": f"127.0.0.1:{place.port}"})
        with (
            pytest.raises(ConfigError, match="cannot be served"),
            serving(taken, Answers(partial(offer, app), lambda press: "", lambda: True)),
        ):
            pass


def test_prefix_of_the_address_may_stay(app):
    web = app.config.web.model_copy(update={"url": "https://example.com/kpid"})
    answers = Answers(partial(offer, app), lambda press: pressed(app, press, "web"), lambda: True)
    with serving(web, answers) as port:
        place = Place(port)
        assert place.get(f"/kpid{link(alert(app))}", host="example.com")[0] == 200
        assert place.get(link(alert(app)), host="example.com")[0] == 200
        assert place.get("/kpidx/health", host="example.com")[0] == 404
