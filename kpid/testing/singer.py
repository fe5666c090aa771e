"""A Singer tap of an invented CRM: a real executable file that speaks the protocol, with switches for what taps do wrong.

Each start reads the records as they were when :meth:`SingerTap.put_down` was last called, and is noted for the test.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from kpid.testing import singer_tap
from kpid.testing.crm import Crm, Record

TOKEN = "tap-token-4711-0815"  # noqa: S105  opens nothing
PRIVATE_KEY = "-----BEGIN FAKE KEY-----\nQUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo\n-----END FAKE KEY-----"
MODIFIED, DELETED = "modified", "_sdc_deleted_at"
STREAMS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "people": ("users", {"full_name": "name", "mail": "email", "active": "is_active"}),
    "companies": ("accounts", {"title": "name", "web.host": "domain", "seller": "owner_id"}),
    "contacts": ("contacts", {"full_name": "name", "mail": "email", "company": "account_id"}),
    "phases": ("stages", {"label": "name", "result": "state", "position": "sort_order"}),
    "opportunities": (
        "deals",
        {
            "title": "name", "company.id": "account_id", "seller": "owner_id", "phase": "stage_id", "result": "state",
            "value": "amount", "money": "currency", "ended": "closed_at", "expected": "expected_close_date",
        },
    ),
    "phone_calls": ("calls", {"about": "subject", "opportunity": "deal_id", "at": "occurred_at", "way": "direction"}),
    "appointments": ("meetings", {"about": "subject", "opportunity": "deal_id", "at": "occurred_at"}),
}  # fmt: skip
"""By stream the kind of record, and the CRM's value of each of the tap's fields; a point leads into an object."""


@dataclass
class Habits:
    """What a tap does besides its work.

    Args:
        token: what it must find as ``api_token`` in its configuration.
        state_every: records between two STATEs.
        dies_after: lines after which it is killed, as by the system.
        fails_after: lines after which it gives up with an error.
        hangs_after: lines after which nothing comes any more.
        noise: lines on standard error that tell its secrets.
        lines: texts in place of its n-th lines.
        rotates: it writes a new refresh token into its configuration, as taps with OAuth do.
        old_fashioned: its catalog knows no metadata, and it is given by ``--properties``.
        leaves_a_child: it ends and leaves a process behind that holds its standard output.
    """

    token: str = TOKEN
    state_every: int = 20
    dies_after: int | None = None
    fails_after: int | None = None
    hangs_after: int | None = None
    noise: int = 2
    lines: dict[str, str] = field(default_factory=dict)
    rotates: bool = False
    old_fashioned: bool = False
    leaves_a_child: bool = False


class SingerTap:
    """The tap of a CRM.

    Args:
        crm: what it tells.
        folder: where its program lies.
        tables: streams that it knows no times of change of: it gives them whole.
    """

    def __init__(self, crm: Crm, folder: Path, *, tables: tuple[str, ...] = ("people", "phases")) -> None:
        self.crm = crm
        self.folder = folder
        self.tables = tables
        self.habits = Habits()
        self.hidden: set[tuple[str, str]] = set()
        """Fields that are taken away, by stream."""
        self.names: dict[str, str] = {}
        """Names of streams in messages, where they differ from those of the catalog."""
        folder.mkdir(parents=True, exist_ok=True)
        program = Path(singer_tap.__file__).read_text(encoding="utf-8")
        self.file.write_text(f"#!{sys.executable} -IS\n{program}", encoding="utf-8")
        self.file.chmod(0o755)

    @property
    def file(self) -> Path:
        """The program."""
        return self.folder / "tap-example"

    def put_down(self) -> None:
        """From the next start on the tap knows what the CRM holds now, and its habits."""
        streams = {name: self._stream(name) for name in STREAMS}
        beside = self.folder / "tap.new"
        beside.write_text(json.dumps({"habits": asdict(self.habits), "streams": streams}), encoding="utf-8")
        beside.replace(self.folder / "tap.json")

    def catalog(self) -> dict[str, Any]:
        """What it lists, without starting it."""
        is_old = self.habits.old_fashioned
        listed = [singer_tap.listing(name, self._stream(name), old_fashioned=is_old) for name in STREAMS]
        return {"streams": listed}

    def starts(self, *, discover: bool = False) -> list[dict[str, Any]]:
        """How it was started, each time: its state, configuration, catalog, environment."""
        file = self.folder / "starts.jsonl"
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        return [start for line in lines if (start := json.loads(line))["discover"] is discover]

    def _stream(self, name: str) -> dict[str, Any]:
        kind, words = STREAMS[name]
        is_table = name in self.tables
        shown = {word: column for word, column in words.items() if (name, word) not in self.hidden}
        records = [
            _record(record, shown)
            for record in sorted(self.crm.kinds[kind].every(), key=lambda record: record.key)
            if record.deleted_at is None or not is_table
        ]
        plain: dict[str, Any] = {"type": ["null", "string", "number", "boolean"]}
        fields = {"id": plain, "created": plain, MODIFIED: plain, DELETED: plain}
        for word in shown:
            top, _, inner = word.partition(".")
            fields[top] = {"type": ["null", "object"], "properties": {inner: plain}} if inner else plain
        return {
            "name": self.names.get(name, name), "schema": {"type": "object", "properties": fields}, "key_properties": ["id"],
            "replication_key": None if is_table else MODIFIED, "records": records, "version": self.crm.version,
        }  # fmt: skip


def _record(record: Record, words: Mapping[str, str]) -> dict[str, Any]:
    """A record in the tap's words; of a deleted one nothing but its key and times, as taps that follow a log do."""
    told: dict[str, Any] = {"id": record.id, MODIFIED: _plain(record.modified)}
    if record.deleted_at is not None:
        return {**told, DELETED: _plain(record.deleted_at)}
    told["created"] = _plain(record.created)
    for word, column in words.items():
        top, _, inner = word.partition(".")
        value = _plain(record.values.get(column))
        told[top] = {**told.get(top, {}), inner: value} if inner else value
    return told


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    if isinstance(value, Decimal):
        return float(value)
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)
