"""The WebSocket client on its own: quiet lines, long texts, orderly ends."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from kpid.plugin.websocket import IDLE, Frame, LineClosedError, LineError, connect, frame_bytes, frame_from
from kpid.testing import FakeClock
from tests.plugins.slack_fake_socket import Lines, server_frame

NOW = datetime(2026, 11, 10, 9, 0, tzinfo=UTC)


@pytest.fixture
def lines():
    lines = Lines()
    yield lines
    lines.close()


@pytest.mark.parametrize("length", [0, 1, 125, 126, 65_535, 65_536, 200_000])
def test_texts_of_every_length_arrive_both_ways(lines, length):
    text = "x" * length
    with connect(lines.url, clock=FakeClock(NOW), allow_private=True) as line:
        other = lines.opened.get(timeout=20)
        line.send(text)
        assert other.next() == (1, text.encode())
        other.raw(server_frame(1, text.encode()))
        assert line.receive(20) == text


def test_frame_is_the_one_of_the_standard():
    """RFC 6455, section 5.7."""
    assert frame_bytes(Frame(1, b"Hello"), bytes.fromhex("37fa213d")).hex() == "818537fa213d7f9f4d5158"
    assert frame_from(bytes.fromhex("810548656c6c6f")) == (Frame(1, b"Hello"), 7)
    assert frame_from(bytes.fromhex("010348656c")) == (Frame(1, b"Hel", last=False), 5)
    assert frame_from(bytes.fromhex("81054865")) is None


def test_handshake_is_the_one_of_the_standard(lines):
    connect(lines.url, clock=FakeClock(NOW), allow_private=True).close()
    (asked,) = lines.asked
    assert asked.startswith("GET /link/?ticket=canary-ticket HTTP/1.1\r\n")
    assert "Sec-WebSocket-Version: 13" in asked


def test_quiet_line_is_asked_and_then_given_up(lines):
    clock = FakeClock(NOW)
    with connect(lines.url, clock=clock, allow_private=True) as line:
        other = lines.opened.get(timeout=20)
        assert line.receive(0.01) is None
        clock.sleep(IDLE + 1)
        assert line.receive(0.01) is None
        assert other.next()[0] == 9
        other.raw(server_frame(10, b""))
        while line.receive(0.01) is None and line._asked:
            pass
        clock.sleep(3 * IDLE + 1)
        with pytest.raises(LineError, match="says nothing"):
            line.receive(0.01)


def test_end_is_answered_and_told(lines):
    line = connect(lines.url, clock=FakeClock(NOW), allow_private=True)
    other = lines.opened.get(timeout=20)
    other.raw(server_frame(8, b"\x03\xe8bye"))
    with pytest.raises(LineClosedError):
        line.receive(20)
    assert other.next() == (8, b"\x03\xe8")
    line.close()


def test_nobody_there_is_told_without_the_secret(lines):
    lines.close()
    with pytest.raises(LineError) as caught:
        connect(lines.url, clock=FakeClock(NOW), allow_private=True)
    assert "canary" not in str(caught.value)
