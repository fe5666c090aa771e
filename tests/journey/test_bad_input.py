"""Bad input of every kind: a clear line, nothing else lost, and ``kpid doctor`` shows it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.journey.shell import Shell, make_shell

NOW = "2026-11-16T09:00:00+01:00"
GOOD = """native_id,created_at,closed_at,state,amount,currency,owner_id
d1,2026-10-01,2026-11-02,won,100,EUR,ada
d2,2026-10-02,2026-11-03,lost,200,EUR,ada
d3,2026-10-03,2026-11-10,won,300,EUR,ada
d4,2026-10-04,,open,400,EUR,ada
"""
CONFIG = """
timezone: Europe/Berlin
currency: EUR
state: sqlite:///var/kpid.db
warehouse: duckdb:///var/crm.duckdb
{top}
sources:
  good: {{connector: files, path: good, every: 15m, max_age: 3650d}}
{sources}
receivers:
  team: {{notifier: mailbox, folder: var/mail, from: kpid@example.com, to: [a@example.com]}}
rules:
  - {{name: any-win, kpi: won_deals, period: week, warn: "< 1000", to: [team]}}
{rules}
reports:
  weekly: {{report: weekly_sales, every: "mon 07:30", to: [team]}}
"""


@dataclass(frozen=True)
class Case:
    """One kind of bad input: what is added, and what a person must read."""

    says: tuple[str, ...]
    sources: str = ""
    rules: str = ""
    top: str = ""
    files: dict[str, str] = field(default_factory=dict)


BAD_PLUGIN = """
from kpid.plugin import At, Definition, Kpi, Measure, count, entities, hookimpl

deals = entities.deals


def broken(m):
    raise ZeroDivisionError("a bug in a plugin")


@hookimpl
def kpid_kpis():
    measures = {"all": Measure(deals, At(deals.c.created_at), count())}
    return [Kpi(id="buggy", name="Buggy", category="test", unit="count", better="up", define=Definition(measures, broken))]
"""
BAD_CONNECTOR = '''
from kpid.plugin import Connector, ConnectorInfo, EntityReads, Settings, hookimpl


class Nothing(Settings):
    """No settings."""


class Raising(Connector[Nothing]):
    name = "raising"
    Settings = Nothing

    def reads(self):
        return [EntityReads("deals")]

    def pages(self, entity, cursor, until):
        raise RuntimeError("a bug in a connector")
        yield

    def check(self):
        return []


@hookimpl
def kpid_connectors():
    return [ConnectorInfo(Raising)]
'''
DEALS_ONLY = "  bad: {{connector: files, path: bad, every: 15m, max_age: 3650d, entities: {{deals: {{file: {file}{more}}}}}}}"
CASES = {
    "unreachable-source": Case(
        sources='  bad: {connector: hubspot, token: "not-a-token", base_url: "http://127.0.0.1:9", allow_private: true}',
        says=("bad", "127.0.0.1:9"),
    ),
    "truncated-json-page": Case(
        sources='  bad: {connector: hubspot, token: "not-a-token", base_url: "http://127.0.0.1:PORT", allow_private: true}',
        says=("bad", "JSON"),
    ),
    "truncated-json-line": Case(
        sources=DEALS_ONLY.format(file="deals.jsonl", more=""),
        files={"bad/deals.jsonl": '{"native_id": "x1", "state": "open"}\n{"native_id": "x2", "sta'},
        says=("deals.jsonl", "2"),
    ),
    "csv-with-a-wrong-column": Case(
        sources=DEALS_ONLY.format(file="deals.csv", more=", id: opportunity_id, columns: {amount: valeu}"),
        files={"bad/deals.csv": "opportunity_id,value\nx1,10\n"},
        says=("deals.csv", "valeu", "value"),
    ),
    "null-amount": Case(files={"good/deals.csv": GOOD + "d5,2026-10-05,2026-11-11,won,,EUR,ada\n"}, says=("amount", "1")),
    "future-close-date": Case(
        files={"good/deals.csv": GOOD + "d5,2026-10-05,2031-01-01,won,500,EUR,ada\n"}, says=("closed_at", "future")
    ),
    "connector-that-raises": Case(
        top="plugins_dir: plugins",
        sources="  bad: {connector: raising, every: 15m}",
        files={"plugins/raising.py": BAD_CONNECTOR},
        says=("bad", "a bug in a connector"),
    ),
    "kpi-that-raises": Case(
        top="plugins_dir: plugins",
        rules='  - {name: buggy-rule, kpi: buggy, period: week, warn: "< 5", to: [team]}',
        files={"plugins/buggy.py": BAD_PLUGIN},
        says=("buggy", "a bug in a plugin"),
    ),
    "plugin-that-does-not-import": Case(
        top="plugins_dir: plugins",
        files={"plugins/unimportable.py": "import there_is_no_such_module\n"},
        says=("there_is_no_such_module",),
    ),
}


@pytest.fixture
def cut_off_api() -> Iterator[int]:
    """A server whose every answer breaks off in the middle."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = b'{"results": [{"id": "1", "prop'
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 - the base class looks for this name

        def log_message(self, *_: Any) -> None:
            return None

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()
    thread.join(10)


def lay_out(folder: Path, case: Case, port: int) -> Shell:
    files = {"good/deals.csv": GOOD, "good/users.csv": "native_id,name\nada,Ada Example\n"} | case.files
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return make_shell(
        folder,
        CONFIG.format(
            top=case.top,
            sources=case.sources.replace("PORT", str(port)),
            rules=case.rules,
        ),
    )


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_told_and_costs_nothing_else(name: str, tmp_path: Path, cut_off_api: int) -> None:
    case = CASES[name]
    shell = lay_out(tmp_path, case, cut_off_api)
    done = shell.run("run", "--once", now=NOW, ok=False)
    assert done.returncode in {0, 1}, done.stderr
    assert "Traceback" not in done.stdout + done.stderr

    doctor = shell.run("doctor", now=NOW, ok=False)
    said = doctor.stdout + doctor.stderr
    assert all(word in " ".join(said.split()) for word in case.says), said
    assert "not-a-token" not in said + done.stdout + done.stderr

    wins = shell.json("measure", "--kpi", "won_deals", "--period", "week", "--from", "2026-11-02", "--to", "2026-11-16", now=NOW)
    assert wins[0]["value"] == 1, "the good source is unaffected"
    subjects = json.dumps([path.read_text() for path in shell.mails()])
    assert "any-win" in subjects, "the other rule was judged and told"
    assert "weekly" in subjects, "the report went out"


def test_faulty_template_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    case = Case(
        top="templates_dir: templates", files={"templates/weekly_sales.txt.j2": "{{ there.is.no.such.thing }}\n"}, says=()
    )
    shell = lay_out(tmp_path, case, 0)
    done = shell.run("run", "--once", now=NOW, ok=False)
    assert done.returncode == 78
    assert "templates/weekly_sales.txt.j2:1: the template is faulty: 'there' is undefined" in done.stderr
    assert not shell.mails()
