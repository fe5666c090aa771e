"""How fast the outbox empties: ``python -m tests.bench.bench_delivery``. Messages per second; the mail server shares the process.

How long the disk takes for a sync, and how much else the machine has to do, is said first: both decide.
"""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from kpid_email import Email, EmailSettings
from kpid_mailbox import Mailbox, MailboxSettings
from kpid_webhook import Webhook, WebhookSettings

from kpid.clock import SystemClock
from kpid.config.model import Receiver
from kpid.delivery.dispatch import deliver_due
from kpid.plugin import Image, Message, Notifier, NotifierContext
from kpid.store import outbox
from kpid.store.engine import Store
from tests.bench.sink import running_sink
from tests.plugins.smtp_server import SmtpServer, running

NOW = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)
MESSAGES = 1000
MANY = 10_000


def surroundings(folder: Path) -> str:
    """What a sync costs here, and how busy it is."""
    with (folder / "sync").open("wb", buffering=0) as file:
        started = time.perf_counter()
        for _ in range(100):
            file.write(b"x" * 4096)
            os.fsync(file.fileno())
        took = (time.perf_counter() - started) / 100
    return f"a sync takes {took * 1000:.1f} ms; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors"


def measure(name: str, folder: Path, notifier: Notifier, message: Message, count: int) -> None:
    store = Store(f"sqlite:///{folder}/{name}.db")
    store.create()
    started = time.perf_counter()
    told = [(replace(message, key=f"{number:064x}"), name, "bench") for number in range(count)]
    with store.write() as conn:
        outbox.enqueue_all(conn, told, now=NOW)
    enqueued = time.perf_counter()
    cpu = time.process_time()
    done = deliver_due(
        store=store, notifiers={name: notifier}, receivers={name: Receiver(notifier=name)}, clock=SystemClock(), owner="bench"
    )
    took, used = time.perf_counter() - enqueued, time.process_time() - cpu
    assert done.sent == count
    speeds = f"enqueue {count / (enqueued - started):7.0f}/s  deliver {count / took:6.0f}/s"
    print(f"{name:24} {speeds}  {used / count * 1000:5.2f} ms CPU each")
    notifier.close()
    store.close()


def main() -> None:
    page = "<html><body>" + "<p>Win rate is 41 %, down from 52 %.</p>" * 800 + '<img src="cid:trend"></body></html>'
    small = Message(key="x", kind="alert", title="Win rate is 41 %", text="Down from 52 %.\n" * 20, created_at=NOW)
    picture = Image("trend", bytes(range(256)) * 160, "trend", 600, 200)
    large = Message(
        key="x",
        kind="report",
        title="Weekly sales",
        text="x\n" * 500,
        html=page,
        images=(picture,),
        created_at=NOW,
        recipient="a@example.com",
    )
    with tempfile.TemporaryDirectory() as name, running(SmtpServer()) as smtp:
        folder = Path(name)
        print(surroundings(folder))
        context = NotifierContext("bench", folder, SystemClock())
        mail = {"host": "127.0.0.1", "port": smtp.port, "tls": "none", "from": "kpid@example.com", "to": ["a@example.com"]}
        for count in (MESSAGES, MANY):
            with running_sink() as sink:
                hook = Webhook(WebhookSettings.model_validate({"url": sink.url, "secret": "key-123456"}), context)
                measure(f"webhook-{count}", folder, hook, small, count)
            assert sink.requests == sink.keys == count
        measure("mailbox", folder, Mailbox(MailboxSettings(), context), small, MESSAGES)
        alert = replace(small, recipient="a@example.com")
        measure("email-alert", folder, Email(EmailSettings.model_validate(mail), context), alert, MESSAGES)
        measure("email-report-110KB", folder, Email(EmailSettings.model_validate(mail), context), large, 200)
        print(surroundings(folder))


if __name__ == "__main__":
    main()
