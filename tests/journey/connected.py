"""A company whose CRM is one of the fakes: its configuration, and a clock that goes on while other processes talk to it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from threading import Event, Thread
from typing import Any

from kpid.plugin import Connector
from kpid.testing import FakeClock, SourceBench
from tests.journey.shell import Shell, make_shell

TICK = 0.05
RATES = "native_id,from_currency,to_currency,valid_from,rate\n" + "".join(
    f"{one}{two},{one},{two},2020-01-01,{rate}\n"
    for one, two, rate in [("USD", "EUR", "0.9"), ("CHF", "EUR", "1.05"), ("GBP", "EUR", "1.15"), ("SEK", "EUR", "0.09")]
)


@contextmanager
def going_on(clock: FakeClock) -> Iterator[None]:
    """The clock goes on with the machine's, as the vendor's would."""
    over = Event()

    def tick() -> None:
        last = time.monotonic()
        while not over.wait(TICK):
            now = time.monotonic()
            clock.advance(timedelta(seconds=now - last))
            last = now

    thread = Thread(target=tick, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def kind_of(bench: SourceBench) -> type[Connector[Any]]:
    """The class of the connector on the bench."""
    connector = bench.connector()
    connector.close()
    return type(connector)


def options_of(bench: SourceBench, **changed: Any) -> dict[str, Any]:
    """The options of the source in YAML; other processes have more patience than tests of one."""
    kind = kind_of(bench)
    patient = {"read_timeout": 30} if "read_timeout" in kind.Settings.model_fields else {}
    return {"connector": kind.name, "every": "1h", **bench.options(), **patient, **changed}


def make_company(folder: Path, crm: Mapping[str, Any], **more: Any) -> Shell:
    """A folder with the CRM as one source, a folder of files as another, two rules and the weekly report."""
    (folder / "rates").mkdir()
    (folder / "rates" / "fx_rates.csv").write_text(RATES, encoding="utf-8")
    configuration = {
        "timezone": "Europe/Berlin",
        "currency": "EUR",
        "state": "sqlite:///var/kpid.db",
        "warehouse": "duckdb:///var/crm.duckdb",
        "sources": {"crm": dict(crm), "rates": {"connector": "files", "path": "rates", "every": "1d", "max_age": "3650d"}},
        "receivers": {"team": {"notifier": "mailbox", "folder": "var/mail", "from": "kpid@example.com", "to": ["a@example.com"]}},
        "rules": [
            {"name": "few-wins", "kpi": "won_deals", "period": "week", "warn": "< 1000", "to": ["team"]},
            {"name": "no-wins", "kpi": "won_deals", "period": "week", "warn": "< 1", "to": ["team"]},
        ],
        "reports": {"weekly-sales": {"report": "weekly_sales", "every": "mon 07:30", "to": ["team"]}},
        **more,
    }
    return make_shell(folder, json.dumps(configuration, default=str, indent=1))
