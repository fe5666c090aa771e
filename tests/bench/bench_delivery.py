"""How fast the outbox empties: ``python -m tests.bench.bench_delivery``. Messages per second; the servers share the process."""

from __future__ import annotations

import tempfile
import threading
import time
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
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
from tests.plugins.smtp_server import SmtpServer, running

NOW = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)
MESSAGES = 1000


class _Sink(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response_only(202)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


def measure(name: str, folder: Path, notifier: Notifier, message: Message, count: int) -> None:
    store = Store(f"sqlite:///{folder}/{name}.db")
    store.create()
    started = time.perf_counter()
    with store.write() as conn:
        for number in range(count):
            one = Message(**{**{key: getattr(message, key) for key in Message.__slots__}, "key": f"{number:064x}"})
            outbox.enqueue(conn, one, receiver=name, origin="bench", now=NOW)
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
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Sink)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as name, running(SmtpServer()) as smtp:
        folder = Path(name)
        context = NotifierContext("bench", folder, SystemClock())
        url = f"http://127.0.0.1:{server.server_port}/"
        mail = {"host": "127.0.0.1", "port": smtp.port, "tls": "none", "from": "kpid@example.com", "to": ["a@example.com"]}
        measure(
            "webhook",
            folder,
            Webhook(WebhookSettings.model_validate({"url": url, "secret": "key-123456"}), context),
            small,
            MESSAGES,
        )
        measure("mailbox", folder, Mailbox(MailboxSettings(), context), small, MESSAGES)
        alert = Message(**{**{key: getattr(small, key) for key in Message.__slots__}, "recipient": "a@example.com"})
        measure("email-alert", folder, Email(EmailSettings.model_validate(mail), context), alert, MESSAGES)
        measure("email-report-110KB", folder, Email(EmailSettings.model_validate(mail), context), large, 200)
    server.shutdown()
    server.server_close()


if __name__ == "__main__":
    main()
