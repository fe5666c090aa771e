"""A delivering process for the kill -9 test: forks a child per line on stdin, so that a life costs no imports."""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from pathlib import Path

from kpid_email import Email, EmailSettings
from kpid_mailbox import Mailbox, MailboxSettings
from kpid_webhook import Webhook, WebhookSettings

from kpid.clock import SystemClock
from kpid.config.model import Receiver
from kpid.delivery.dispatch import deliver_due
from kpid.plugin import NotifierContext
from kpid.store import sending
from kpid.store.engine import Store


def live(folder: Path, url: str, smtp_port: int) -> None:
    clock, store = SystemClock(), Store(f"sqlite:///{folder}/state.db")
    with store.write() as conn:
        sending.expire_leases(conn, clock.now())
    context = NotifierContext("r", folder, clock)
    mail = {"host": "127.0.0.1", "port": smtp_port, "tls": "none", "from": "kpid@example.com", "to": ["ada@example.com"]}
    notifiers = {
        "mailbox": Mailbox(MailboxSettings(), context),
        "webhook": Webhook(WebhookSettings.model_validate({"url": url, "secret": "key-of-the-signature"}), context),
        "email": Email(EmailSettings.model_validate(mail), context),
    }
    receivers = {name: Receiver(notifier=name) for name in notifiers}
    options = {"store": store, "notifiers": notifiers, "receivers": receivers, "clock": clock, "owner": f"life {os.getpid()}"}
    while deliver_due(**options, lease_for=timedelta(minutes=2)).next_at is not None:
        clock.sleep(0.05)
    for notifier in notifiers.values():
        notifier.close()
    store.close()


def main() -> None:
    folder, url, smtp_port = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    for _ in sys.stdin:
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                live(folder, url, smtp_port)
                code = 0
            finally:
                os._exit(code)
        print(pid, flush=True)
        print(os.waitpid(pid, 0)[1], flush=True)


if __name__ == "__main__":
    main()
