"""Tables of the state store: what kpid must never forget. SQLite by default, PostgreSQL when outgrown.

Decimals are kept as text, so that they come back exactly; instants as UTC; JSON as canonical JSON text.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from kpid.store.columns import Exact, Instant, key_column, metadata
from kpid.store.handling_tables import audit, episodes, exclusions, frames, groups, notices, silences

__all__ = [
    "Exact", "Instant", "attempts", "audit", "contents", "episodes", "evaluations", "events", "exclusions", "families", "frames",
    "groups", "measurements", "metadata", "notices", "outbox", "problems", "report_runs", "rules", "runs",
    "schedule_positions", "series", "silences", "sync_runs",
]  # fmt: skip

# ---- metrics: history, append-only; the row with the largest id of a (family, segment, period_start) is current
measurements = Table(
    "measurements",
    metadata,
    key_column(),
    Column("family", String(64), nullable=False, doc="sha256 of SeriesNeed.key"),
    Column("segment", Text, nullable=False, doc="segmentkey_column(): canonical JSON {dimension: id}"),
    Column("period_kind", String(40), nullable=False),
    Column("period_start", Instant, nullable=False),
    Column("period_end", Instant, nullable=False),
    Column("period_label", String(60), nullable=False),
    Column("kpi", String(80), nullable=False),
    Column("params", JSON, nullable=False),
    Column("names", JSON, nullable=False, doc="{dimension: name} for people"),
    Column("state", String(24), nullable=False),
    Column("value", Exact),
    Column("numerator", Exact),
    Column("denominator", Exact),
    Column("n", Integer, nullable=False),
    Column("currency", String(3)),
    Column("reason", Text, nullable=False, default=""),
    Column("warnings", JSON, nullable=False, default=list),
    Column("as_of", Instant, nullable=False),
    Column("data_through", Instant),
    Column("definition", String(64), nullable=False, doc="hash of the definition, zone, week start, currency"),
    Column("computed_at", Instant, nullable=False),
    Column("low", Exact, doc="95 % interval of the value, where there is one"),
    Column("high", Exact),
    Index("ix_measurements_series", "family", "period_start", "segment", "id"),
)

families = Table(
    "families",
    metadata,
    Column("family", String(64), primary_key=True),
    Column("need", Text, nullable=False, doc="SeriesNeed.key"),
    Column("definition", String(64), nullable=False),
    Column("seen_change", BigInteger, nullable=False, default=0, doc="changes of the warehouse up to here are measured"),
    Column("measured_at", Instant, nullable=False),
)

# ---- alerting
series = Table(
    "series",
    metadata,
    Column("rule_uid", String(200), primary_key=True),
    Column("series_key", String(64), primary_key=True),
    Column("segment", Text, nullable=False),
    Column("names", JSON, nullable=False),
    Column("meaning", String(64), nullable=False, doc="hash of what the rule means"),
    Column("status", String(16), nullable=False),
    Column("level", String(16), nullable=False),
    Column("data", String(16), nullable=False),
    Column("episode", Integer, nullable=False, default=0),
    Column("last_slot", Instant),
    Column("state", JSON, nullable=False, doc="the whole SeriesState"),
    Column("updated_at", Instant, nullable=False),
)

rules = Table(
    "rules",
    metadata,
    Column("rule_uid", String(200), primary_key=True),
    Column("meaning", String(64), nullable=False),
    Column("last_slot", Instant, doc="slots up to here are evaluated"),
    Column("health", JSON, nullable=False, default=dict),
    Column("rule", JSON, nullable=False, default=dict, doc="the rule as last judged, to tell of its end when it is gone"),
    Column("updated_at", Instant, nullable=False),
)

evaluations = Table(
    "evaluations",
    metadata,
    key_column(),
    Column("rule_uid", String(200), nullable=False),
    Column("series_key", String(64), nullable=False),
    Column("slot", Instant, nullable=False),
    Column("period_label", String(60), nullable=False),
    Column("outcome", JSON, nullable=False),
    Column("before", JSON, nullable=False, doc="SeriesState before this slot: what a restated slot is replayed from"),
    Column("at", Instant, nullable=False),
    Index("ix_evaluations_series", "rule_uid", "series_key", "slot"),
)

events = Table(
    "events",
    metadata,
    key_column("seq"),
    Column("at", Instant, nullable=False),
    Column("slot", Instant, nullable=False),
    Column("rule_uid", String(200), nullable=False),
    Column("series_key", String(64), nullable=False),
    Column("episode", Integer, nullable=False),
    Column("kind", String(24), nullable=False),
    Column("body", JSON, nullable=False, doc="from, to, level, value, n, threshold, previous, reason ..."),
    Index("ix_events_series", "rule_uid", "series_key", "episode"),
)

# ---- delivery
contents = Table(
    "contents",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("body", LargeBinary, nullable=False),
    Column("created_at", Instant, nullable=False),
)

outbox = Table(
    "outbox",
    metadata,
    key_column(),
    Column("key", String(64), nullable=False, unique=True, doc="idempotency key of the message"),
    Column("kind", String(16), nullable=False),
    Column("receiver", String(200), nullable=False),
    Column("recipient", String(320), nullable=False, default=""),
    Column("thread", String(200)),
    Column("origin", String(300), nullable=False, doc="what it is about: rule and slot, report and due time"),
    Column("message", JSON, nullable=False, doc="the Message; pictures by sha256 of contents"),
    Column("state", String(16), nullable=False, doc="ready, sending, sent, dead, hold"),
    Column("attempt", Integer, nullable=False, default=0),
    Column("not_before", Instant, nullable=False),
    Column("expires_at", Instant, doc="give up after this"),
    Column("lease_owner", String(80)),
    Column("lease_until", Instant),
    Column("unknown", Boolean, nullable=False, default=False, doc="an attempt may have arrived"),
    Column("provider_id", Text),
    Column("thread_ref", Text),
    Column("last_error", Text),
    Column("created_at", Instant, nullable=False),
    Column("done_at", Instant),
    Index("ix_outbox_due", "state", "not_before"),
    Index("ix_outbox_thread", "receiver", "recipient", "thread"),
)

attempts = Table(
    "attempts",
    metadata,
    key_column(),
    Column("outbox_id", ForeignKey("outbox.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("attempt", Integer, nullable=False),
    Column("at", Instant, nullable=False),
    Column("finished_at", Instant),
    Column("result", String(16), doc="sent, retry, dead, unknown"),
    Column("detail", Text),
)

# ---- reporting
report_runs = Table(
    "report_runs",
    metadata,
    key_column(),
    Column("report", String(200), nullable=False),
    Column("period_kind", String(40), nullable=False),
    Column("period_start", Instant, nullable=False),
    Column("due", String(40), nullable=False, doc="nominal local time of the run, or 'by hand ...'"),
    Column("context", JSON, nullable=False, doc="the frozen ReportContext"),
    Column("created_at", Instant, nullable=False),
    UniqueConstraint("report", "due", name="uq_report_runs_due"),
)

# ---- runtime
schedule_positions = Table(
    "schedule_positions",
    metadata,
    Column("schedule", String(200), primary_key=True),
    Column("spec", String(64), nullable=False, doc="hash of the specification and its zone"),
    Column("last_nominal", String(40), nullable=False, doc="naive local ISO time"),
)

runs = Table(
    "runs",
    metadata,
    Column("schedule", String(200), primary_key=True, doc="sync:<source>, report:<name>"),
    Column("due", String(40), primary_key=True, doc="nominal naive local ISO time"),
    Column("timezone", String(60), nullable=False),
    Column("due_at", Instant, nullable=False),
    Column("state", String(16), nullable=False, doc="due, running, done, failed, skipped"),
    Column("reason", Text, nullable=False, default=""),
    Column("started_at", Instant),
    Column("finished_at", Instant),
    Column("fence", Integer, nullable=False, default=0),
    Column("lease_until", Instant),
    Index("ix_runs_state", "state", "due_at"),
)

sync_runs = Table(
    "sync_runs",
    metadata,
    key_column(),
    Column("source", String(200), nullable=False),
    Column("entity", String(60), nullable=False),
    Column("started_at", Instant, nullable=False),
    Column("finished_at", Instant),
    Column("state", String(16), nullable=False, doc="running, done, failed, deferred"),
    Column("rows", Integer, nullable=False, default=0),
    Column("changed", Integer, nullable=False, default=0),
    Column("deletes", Integer, nullable=False, default=0),
    Column("error", Text),
    Column("warnings", JSON, nullable=False, default=list),
    Column("through", Instant),
    Column("deferred_until", Instant, doc="the source asked to be left alone until then"),
    Column("kind", String(16), nullable=False, default="sync", server_default="sync", doc="sync, reconcile, backfill"),
    Index("ix_sync_runs_source", "source", "entity", "id"),
)

problems = Table(
    "problems",
    metadata,
    Column("subject", String(300), primary_key=True, doc="what is wrong: source:crm/deals, report:weekly, data:deals/amount"),
    Column("text", Text, nullable=False),
    Column("hint", Text, nullable=False, default=""),
    Column("count", Integer, nullable=False, default=1),
    Column("first_at", Instant, nullable=False),
    Column("last_at", Instant, nullable=False),
)
