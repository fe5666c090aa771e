"""No secret leaves: the real program with a canary in place of each secret, among servers that refuse, repeat
what they got or cut off.

Afterwards everything that kpid has written or printed is searched for each canary, plain, URL-quoted and in base64.
"""

from __future__ import annotations

import base64
import re
import signal
import time
from collections.abc import Iterator, Mapping
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.journey.shell import Shell, make_shell
from tests.security.echo_servers import EchoHttp, EchoSmtp, running

DEALS = """native_id,created_at,closed_at,state,amount,currency,owner_id
d1,2026-10-01,2026-11-02,won,100,EUR,ada
d2,2026-10-02,2026-11-03,lost,200,EUR,ada
d3,2026-10-03,2026-11-10,won,300,EUR,ada
"""
CANARIES = {
    "hubspot": "pat-eu1/C4n4ry-hubspot-7f3a91+x=",
    "slack": "xoxb-C4n4ry-slack-55aa0e1d77",
    "hook": "C4n4ry-hook-9d21 path/a&b",
    "signing": "C4n4ry-signing-secret-31bc:#x",
    "header": "C4n4ry-header-e7e7a0",
    "smtp": "C4n4ry-smtp-0c1d pä:ss",
    "sql": "C4n4ry-sql-44d9@pass/w:d",
    "option": "C4n4ry-option-8c8c8c11",
    "leaky": "C4n4ry-leaky-b00b5<x>&\"y'",
}
LEAKY = '''
import logging

from kpid.plugin import (
    Connector, ConnectorError, ConnectorInfo, DeliveryError, EntityReads, Finding, Notifier, Secret, Settings, hookimpl,
)


class Leaking(Settings):
    """A secret, and how to give it away."""

    secret: Secret
    how: str


def leak(settings, kind):
    text = f"log-in with {settings.secret.get_secret_value()} failed at https://u:{settings.secret.get_secret_value()}@x.example"
    logging.getLogger("leaky").warning("tried %s", text)
    logging.getLogger("leaky").debug("%r", {"token": text})
    try:
        raise ValueError(text)
    except ValueError as error:
        logging.getLogger("leaky").exception("it failed")
        raise (kind(text) if settings.how == "own" else RuntimeError(text)) from error


class LeakySource(Connector[Leaking]):
    name = "leaky_source"
    Settings = Leaking

    def reads(self):
        return [EntityReads("deals")]

    def pages(self, entity, cursor, until):
        leak(self.settings, ConnectorError)
        yield

    def check(self):
        return [Finding("leaky", False, self.settings.secret.get_secret_value(), self.settings.secret.get_secret_value())]


class LeakyNotifier(Notifier[Leaking]):
    name = "leaky_notifier"
    Settings = Leaking

    def send(self, message):
        leak(self.settings, DeliveryError)

    def check(self):
        leak(self.settings, DeliveryError)


@hookimpl
def kpid_connectors():
    return [ConnectorInfo(LeakySource)]


@hookimpl
def kpid_notifiers():
    return [LeakyNotifier]
'''
CONFIG = """
timezone: Europe/Berlin
currency: EUR
state: sqlite:///var/kpid.db
warehouse: duckdb:///var/crm.duckdb
plugins_dir: plugins
logging: {{format: {format}, level: debug}}
sources:
  good: {{connector: files, path: good, every: 15m, max_age: 3650d}}
  hub-echo: {{connector: hubspot, token: "${{env:HUB}}", base_url: "http://127.0.0.1:{http}/echo", allow_private: true}}
  hub-away: {{connector: hubspot, token: "${{env:HUB}}", base_url: "http://127.0.0.1:{http}/redirect", allow_private: true}}
  sql-refused:
    {{connector: sql, url: "postgresql+psycopg://kpid:${{env:SQL}}@127.0.0.1:9/crm", entities: {{deals: {{select: select 1}}}}}}
  sql-broken:
    connector: sql
    url: postgresql+psycopg://kpid@127.0.0.1:9/crm?sslpassword=${{env:OPTION}}&passfile=${{env:OPTION}}
    entities: {{deals: {{select: select 1 as native_id}}}}
  leaky-own: {{connector: leaky_source, secret: "${{env:LEAKY}}", how: own}}
  leaky-any: {{connector: leaky_source, secret: "${{env:LEAKY}}", how: any}}
receivers:
  team: {{notifier: mailbox, folder: var/mail, from: kpid@example.com, to: [a@example.com]}}
  chat-refused: {{notifier: slack, token: "${{file:slack.token}}", channel: C0123456789, api_url: "http://127.0.0.1:9/api"}}
  chat-echo: {{notifier: slack, token: "${{file:slack.token}}", channel: C0123456789, api_url: "http://127.0.0.1:{http}/echo"}}
  chat-reset: {{notifier: slack, token: "${{file:slack.token}}", channel: C0123456789, api_url: "http://127.0.0.1:{http}/reset"}}
  chat-hook: {{notifier: slack, webhook_url: "http://127.0.0.1:{http}/echo/${{env:HOOK_QUOTED}}"}}
  hook-refused: {{notifier: webhook, url: "http://127.0.0.1:9/${{env:HOOK_QUOTED}}", secret: "${{env:SIGNING}}", fallback: team}}
  hook-echo:
    notifier: webhook
    url: http://127.0.0.1:{http}/echo/${{env:HOOK_QUOTED}}
    secret: ${{env:SIGNING}}
    headers: {{Authorization: "Bearer ${{env:HEADER}}", X-Api-Key: "${{env:HEADER}}"}}
    fallback: team
  hook-reset: {{notifier: webhook, url: "http://127.0.0.1:{http}/reset/${{env:HOOK_QUOTED}}", secret: "${{env:SIGNING}}"}}
  mail-refused:
    {{notifier: email, host: 127.0.0.1, port: 9, tls: none, user: u, password: "${{env:SMTP}}", from: k@x.io, to: [a@x.io]}}
  mail-echo:
    notifier: email
    host: 127.0.0.1
    port: {smtp}
    tls: none
    user: kpid
    password: ${{env:SMTP}}
    from: k@example.com
    to: [a@example.com]
    fallback: team
  leak-own: {{notifier: leaky_notifier, secret: "${{env:LEAKY}}", how: own, fallback: team}}
  leak-any: {{notifier: leaky_notifier, secret: "${{env:LEAKY}}", how: any}}
rules:
  - name: any-win
    kpi: won_deals
    period: week
    warn: "< 1000"
    to: [team, chat-refused, chat-echo, chat-reset, chat-hook, hook-refused, hook-echo, hook-reset, mail-refused, mail-echo,
         leak-own, leak-any]
"""


@pytest.fixture
def ports() -> Iterator[dict[str, int]]:
    EchoHttp.seen.clear()
    with running(EchoHttp) as http, running(EchoSmtp) as smtp:
        yield {"http": http, "smtp": smtp}


def lay_out(folder: Path, ports: Mapping[str, int], log_format: str) -> Shell:
    files = {"good/deals.csv": DEALS, "plugins/leaky.py": LEAKY, "slack.token": CANARIES["slack"] + "\n"}
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return make_shell(
        folder,
        CONFIG.format(format=log_format, **ports),
        HUB=CANARIES["hubspot"],
        HOOK_QUOTED=quote(CANARIES["hook"], safe=""),
        SIGNING=CANARIES["signing"],
        HEADER=CANARIES["header"],
        SMTP=CANARIES["smtp"],
        SQL=quote(CANARIES["sql"], safe=""),
        OPTION=CANARIES["option"],
        LEAKY=CANARIES["leaky"],
        NO_COLOR="1",
        COLUMNS="4000",
    )


def forms_of(secret: str) -> set[str]:
    """How a secret may look: plain, quoted, in base64 at each offset, and its longest plain part."""
    raw = secret.encode()
    forms = {secret, quote(secret), quote(secret, safe=""), repr(secret)[1:-1], raw.hex()}
    for before in range(3):
        coded = base64.b64encode(b"\0" * before + raw).decode().rstrip("=")
        forms |= {coded[4:-4], coded[4:-4].translate(str.maketrans("+/", "-_"))}
    return forms | {max(re.split(r"[^\w-]+", secret), key=len)}


def hits(where: str, content: bytes) -> list[str]:
    """The canaries in a text or a file."""
    found = []
    for name, secret in CANARIES.items():
        for form in forms_of(secret):
            for place in re.finditer(re.escape(form.encode()), content):
                around = content[max(0, place.start() - 60) : place.end() + 30]
                found.append(f"{name} in {where}: ...{around!r}")
    return found


def run_daemon(shell: Shell, until: int) -> bytes:
    """The real daemon with debug logging, until so many requests have arrived at the server and a mail is written."""
    log = shell.folder / "daemon.log"
    process = shell.start("run", log=log)
    try:
        give_up = time.monotonic() + 60
        while time.monotonic() < give_up and process.poll() is None:
            said = log.read_bytes()
            mailed = any(shell.folder.rglob("*.eml"))
            if (
                mailed
                and len(EchoHttp.seen) >= until
                and all(word in said for word in (b"535", b"notifier broke", b"sql-refused due"))
            ):
                break
            time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(10)
    return log.read_bytes()


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_no_canary_is_found_anywhere(tmp_path: Path, ports: dict[str, int], log_format: str) -> None:
    shell = lay_out(tmp_path, ports, log_format)
    commands = [("doctor",), ("outbox", "list", "--format", "json")]
    if log_format == "text":
        commands += [("run", "--once"), ("check", "--connect"), ("runs", "--format", "json"), ("--debug", "sync", "hub-echo")]
    printed = {"daemon": run_daemon(shell, 8)}
    for command in commands:
        done = shell.run(*command, ok=False)
        assert done.returncode in {0, 1}, (command, done.stdout, done.stderr)
        printed[" ".join(command)] = f"{done.stdout}\n{done.stderr}".encode()

    said = b"".join(printed.values())
    for expected in (b"hub-echo", b"mail-echo", b"535", b"hook-refused", b"chat-reset", b"leak-own", b"sql-refused", b"***"):
        assert expected in said, f"{expected!r} is missing: the test does not try what it should"
    assert b"C4n4ry" in "".join(EchoHttp.seen).encode(), "the servers did not get the secrets: nothing could be echoed"

    written = {str(path.relative_to(tmp_path)): path for path in tmp_path.rglob("*") if path.is_file()}
    for source in ("slack.token", "kpid.yml"):
        del written[source]
    assert {"var/kpid.db", "var/crm.duckdb"} <= set(written)
    assert any(name.endswith(".eml") for name in written)
    found = [hit for where, content in printed.items() for hit in hits(where, content)]
    found += [hit for name, path in written.items() for hit in hits(name, path.read_bytes())]
    mails = [message_from_bytes(path.read_bytes(), policy=default) for path in tmp_path.rglob("*.eml")]
    for part in [part for mail in mails for part in mail.walk() if part.get_content_maintype() == "text"]:
        found += hits("a mail", part.get_content().encode())
    assert not found, "\n".join(sorted(set(found))[:40])
