"""Whatever comes over the wire is a request, or is refused with a status of ours."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from kpid.web.wire import MAX_BODY, RefusedError, form_from, head_from

HOSTS = {"kpid.example.com"}
LINES = st.sampled_from(
    [
        "GET /health HTTP/1.1",
        "POST /a/x HTTP/1.1",
        "Host: kpid.example.com",
        "host: kpid.example.com",
        "Host: evil.example.com",
        "Content-Length: 5",
        "Content-Length: 5 ",
        "Content-Length: 05",
        "Transfer-Encoding: chunked",
        "transfer-encoding: identity",
        "Content-Type: application/x-www-form-urlencoded",
        "X: \t y",
        " X: y",
        "X : y",
        ": y",
        "",
        "\n",
        "é",
    ]
)


@given(st.lists(LINES, max_size=7), st.sampled_from([b"\r\n", b"\n", b"\r"]))
@settings(max_examples=200, deadline=None)
def test_head_is_clear_or_refused(lines, ending):
    data = ending.join(line.encode() for line in lines)
    head = refused = None
    try:
        head = head_from(data, HOSTS)
    except RefusedError as error:
        refused = error
    if head is None:
        assert refused.status in {400, 403, 405, 411, 413, 415, 421, 431, 505}
        return
    lowered = [line.lower().replace(" ", "") for line in lines[1:]]
    assert lowered.count("host:kpid.example.com") == 1
    assert not any(line.startswith(("transfer-encoding", "host:evil")) for line in lowered)
    assert sum(line.startswith("content-length") for line in lowered) == (1 if head.method == "POST" else 0)
    assert 0 <= head.length <= MAX_BODY


@given(st.binary(max_size=60))
@settings(max_examples=150, deadline=None)
def test_no_bytes_break_it(data):
    for read in (lambda: head_from(data, HOSTS), lambda: form_from(data)):
        with suppress(RefusedError):
            read()
