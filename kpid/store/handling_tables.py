"""Tables of who hears of alerts, and of what people do about them: episodes, notices, silences, exclusions, the audit log."""

from __future__ import annotations

from sqlalchemy import JSON, Boolean, Column, Index, Integer, String, Table, Text, UniqueConstraint

from kpid.store.columns import Instant, key_column, metadata

episodes = Table(
    "episodes",
    metadata,
    key_column(),
    Column("rule_uid", String(200), nullable=False),
    Column("series_key", String(64), nullable=False, doc="empty: the rule's own data"),
    Column("episode", Integer, nullable=False),
    Column("dedup_key", String(64), nullable=False, doc="sha256 of the three"),
    Column("segment", JSON, nullable=False, doc="{dimension: id}"),
    Column("names", JSON, nullable=False, doc="{dimension: name} for people"),
    Column("labels", JSON, nullable=False, doc="labels of the rule when it fired"),
    Column("thread", String(200), nullable=False, default=""),
    Column("level", String(16), nullable=False),
    Column("opened_slot", Instant, nullable=False),
    Column("since_at", Instant, doc="the first bad slot"),
    Column("opened_at", Instant, nullable=False),
    Column("ended_slot", Instant),
    Column("ended_at", Instant),
    Column("end_kind", String(24), nullable=False, default=""),
    Column("handling", String(16), nullable=False, default="open", doc="open, acked, snoozed"),
    Column("handled_by", String(320), nullable=False, default=""),
    Column("handled_via", String(16), nullable=False, default=""),
    Column("handled_at", Instant),
    Column("handled_until", Instant),
    Column("comment", Text, nullable=False, default=""),
    Column("told_level", String(16), nullable=False, default="none", doc="the highest level that people have been told"),
    Column("flapping", Boolean, nullable=False, default=False),
    Column("updated_at", Instant, nullable=False),
    UniqueConstraint("rule_uid", "series_key", "episode", name="uq_episodes_series"),
    Index("ix_episodes_ended", "ended_at"),
)

frames = Table(
    "frames",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("body", JSON, nullable=False, doc="a Notice without its items"),
)

notices = Table(
    "notices",
    metadata,
    key_column(),
    Column("key", String(64), nullable=False, unique=True),
    Column("kind", String(24), nullable=False),
    Column("rule_uid", String(200), nullable=False),
    Column("series_key", String(64), nullable=False),
    Column("episode", Integer, nullable=False),
    Column("receiver", String(200), nullable=False),
    Column("recipient", String(320), nullable=False, default="", doc="empty: every recipient of the receiver"),
    Column("group_key", String(64), nullable=False),
    Column("thread", String(200), doc="null until it is sent"),
    Column("route", Text, nullable=False, default="", doc="which route it goes by, for people"),
    Column("frame", String(64), nullable=False, doc="sha256 of frames"),
    Column("flush_id", String(64), doc="the message that it went out in, for all its recipients"),
    Column("item", JSON, nullable=False, doc="the NoticeItem"),
    Column("level", String(16), nullable=False),
    Column("slot", Instant, nullable=False),
    Column("state", String(16), nullable=False, doc="waiting, sent, folded, dropped"),
    Column("held_by", Text, nullable=False, default=""),
    Column("why", Text, nullable=False, default=""),
    Column("not_before", Instant, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("done_at", Instant),
    Index("ix_notices_flush", "flush_id"),
    Index("ix_notices_due", "state", "not_before"),
    Index("ix_notices_series", "rule_uid", "series_key", "episode"),
    Index("ix_notices_group", "receiver", "recipient", "group_key"),
)

groups = Table(
    "groups",
    metadata,
    Column("receiver", String(200), primary_key=True),
    Column("recipient", String(320), primary_key=True),
    Column("group_key", String(64), primary_key=True),
    Column("thread", String(200)),
    Column("first_at", Instant, nullable=False),
    Column("last_at", Instant, nullable=False),
    Column("repeats", Integer, nullable=False, default=0),
    Column("next_repeat_at", Instant, index=True),
    Column("open", Integer, nullable=False, default=0, doc="episodes of it that are open"),
    Column("updated_at", Instant, nullable=False),
)

silences = Table(
    "silences",
    metadata,
    key_column(),
    Column("matchers", JSON, nullable=False),
    Column("starts_at", Instant, nullable=False),
    Column("ends_at", Instant, nullable=False, index=True),
    Column("author", String(320), nullable=False),
    Column("via", String(16), nullable=False),
    Column("comment", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("ended_by", String(320), nullable=False, default=""),
    Column("ended_at", Instant),
)

exclusions = Table(
    "exclusions",
    metadata,
    key_column(),
    Column("rule_uid", String(200), nullable=False, default="", doc="empty: every rule on the KPI"),
    Column("kpi", String(80), nullable=False, default=""),
    Column("segment", Text, nullable=False, default="", doc="segmentkey_column(); empty: every segment"),
    Column("starts_at", Instant, nullable=False),
    Column("ends_at", Instant, nullable=False),
    Column("author", String(320), nullable=False),
    Column("comment", Text, nullable=False),
    Column("at", Instant, nullable=False),
    Column("removed_at", Instant),
    Index("ix_exclusions_rule", "rule_uid"),
)

audit = Table(
    "audit",
    metadata,
    key_column(),
    Column("at", Instant, nullable=False, index=True),
    Column("actor", String(320), nullable=False),
    Column("via", String(16), nullable=False, doc="cli, web, slack, config"),
    Column("action", String(40), nullable=False),
    Column("subject", String(300), nullable=False, index=True),
    Column("body", JSON, nullable=False),
)
"""Append-only: the database itself refuses changes (triggers of :mod:`kpid.store.creation`, of migration 0003)."""
