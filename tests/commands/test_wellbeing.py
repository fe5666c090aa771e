"""The heartbeat, and the line that says that kpid runs."""

from __future__ import annotations

import socket
from datetime import UTC, datetime

import pytest
from sqlalchemy import select

from kpid.clock import SystemClock
from kpid.commands.wellbeing import call_heartbeat, health_recipients, say_alive
from kpid.store import problems
from kpid.store.tables import outbox
from kpid.supervision import Health
from kpid.testing import Answer, FakeApi, FakeClock
from tests.commands.handled import CONFIG, NOW, opened

MONDAY = datetime(2026, 11, 9, 7, 30, tzinfo=UTC)


@pytest.fixture
def api():
    with FakeApi() as api:
        yield api


def beating(url, alive=""):
    return CONFIG + f'heartbeat: {{url: "{url}/ping/canary-uuid?rid=1", every: 5m{alive}}}\n'


def subjects(app):
    with app.store.read() as conn:
        return [one.subject for one in problems.list_problems(conn)]


def test_heartbeat_is_called_and_a_fault_is_told_without_its_address(api, tmp_path, caplog):
    status = [200]
    api.route("GET", "/ping/canary-uuid", lambda request: Answer(status[0], "no"))
    with opened(tmp_path, beating(api.url)) as app:
        assert call_heartbeat(app)
        assert [request.arg("rid") for request in api.requests] == ["1"]
        status[0] = 404
        assert not call_heartbeat(app)
        assert subjects(app) == ["heartbeat"]
        status[0] = 200
        assert call_heartbeat(app)
        assert subjects(app) == []
    assert "canary" not in caplog.text


def test_heartbeat_that_nobody_answers_harms_nothing(tmp_path, caplog):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with opened(tmp_path, beating(f"http://127.0.0.1:{port}")) as app:
        assert not call_heartbeat(app)
        assert subjects(app) == ["heartbeat"]
    assert "canary" not in caplog.text


def test_without_heartbeat_nothing_is_called_or_said(tmp_path):
    with opened(tmp_path) as app:
        assert not call_heartbeat(app)
        assert say_alive(app, NOW) == 0


def test_heartbeat_is_due_only_while_all_parts_are_well():
    clock = FakeClock(NOW)
    health = Health(clock, 100)
    assert health.is_well()
    health.well("tick")
    health.ill("deliver")
    assert not health.is_well()
    health.well("deliver")
    assert health.is_well()
    clock.sleep(99)
    health.well("tick")
    assert health.is_well()
    clock.sleep(2)
    assert not health.is_well(), "deliveries have said nothing for too long"


def test_alive_line_goes_out_weekly(tmp_path):
    with opened(tmp_path, beating("http://127.0.0.1:1", ', alive: "mon 08:00"'), now=MONDAY) as app:
        assert say_alive(app, app.clock.now()) == 1
        assert say_alive(app, app.clock.now()) == 0, "once"
        app.clock.sleep(6 * 86_400)
        assert say_alive(app, app.clock.now()) == 0
        app.clock.sleep(86_400)
        assert say_alive(app, app.clock.now()) == 1
        app.clock.sleep(9 * 86_400)
        assert say_alive(app, app.clock.now()) == 0, "a line that is days late says nothing"
        with app.store.read() as conn:
            said = [row.message["text"] for row in conn.execute(select(outbox))]
        assert said[0].startswith("kpid is running: 0 rules judged, 0 alerts firing, 0 messages sent in 7 days")


def test_those_of_a_health_route_hear_of_kpid_else_who_owners_fall_back_to(tmp_path):
    two = CONFIG.replace(
        "rules:", "  ops: {notifier: mailbox, folder: var/ops, from: kpid@example.com, to: [ops@example.com]}\nrules:"
    )
    with opened(tmp_path, two) as app:
        assert list(health_recipients(app)) == [("team", "ada@example.com")]
    with opened(tmp_path, two + "owners: {via: team, else: ops}\n") as app:
        assert list(health_recipients(app)) == [("ops", "ops@example.com")]
    with opened(tmp_path, two + "routes:\n  - {match: {kind: health}, to: [ops, team]}\n") as app:
        assert list(health_recipients(app)) == [("ops", "ops@example.com"), ("team", "ada@example.com")]


def test_clock_is_the_machines_own_for_health():
    assert Health(SystemClock(), 900).is_well()
