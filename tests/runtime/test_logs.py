from __future__ import annotations

import io
import json
import logging

import pytest

from kpid import logs

log = logging.getLogger("kpid.test")


@pytest.fixture
def lines():
    stream = io.StringIO()
    handlers = []

    def set_up(kind, level="info", secrets=()):
        handlers.append(logs.set_up(kind, level, frozenset(secrets), stream=stream))
        return stream

    before = logging.getLogger().level
    yield set_up
    for handler in handlers:
        logging.getLogger().removeHandler(handler)
    logging.getLogger().setLevel(before)


def test_json_lines_carry_what_they_are_about(lines):
    stream = lines("json")
    with logs.about(schedule="sync:crm", due="2026-11-22T10:00:00"), logs.about(run="1"):
        log.info("read %d rows", 3)
    log.info("after")
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert (first["text"], first["schedule"], first["run"], first["level"]) == ("read 3 rows", "sync:crm", "1", "info")
    assert "schedule" not in second


def test_text_is_one_line_whatever_is_logged(lines):
    stream = lines("text")
    with logs.about(schedule="sync:crm"):
        log.warning("deal named %s", "a\nb\x1b[31m")
    (line,) = stream.getvalue().splitlines()
    assert "schedule=sync:crm" in line
    assert "\x1b" not in line


@pytest.mark.parametrize("kind", ["text", "json"])
def test_secrets_are_stars_also_in_traces(lines, kind):
    stream = lines(kind, secrets=["hunter2-example"])
    try:
        raise ValueError("token hunter2-example refused")
    except ValueError:
        log.exception("asked https://example.com/?t=hunter2-example")
    assert "hunter2" not in stream.getvalue()
    assert stream.getvalue().count("***") == 3  # the line, the source line in the trace, the error


def test_level_is_kept(lines):
    stream = lines("text", level="warning")
    log.info("quiet")
    assert stream.getvalue() == ""
