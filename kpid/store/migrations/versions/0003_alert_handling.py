"""Who hears of alerts, and what people do about them: episodes, notices, silences, exclusions, and a log that nobody changes.

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

import hashlib
import json

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_REFUSED = "the audit log is append-only"


def upgrade() -> None:
    """Make the tables; the audit log refuses changes; alerts that are open get their numbers."""
    _make_episodes()
    _make_notices()
    _make_handling()
    _refuse_changes()
    _number_open_episodes()


def _make_episodes() -> None:
    op.create_table(
        "episodes",
        sa.Column("id", KEY, autoincrement=True, nullable=False),
        sa.Column("rule_uid", sa.String(length=200), nullable=False),
        sa.Column("series_key", sa.String(length=64), nullable=False),
        sa.Column("episode", sa.Integer(), nullable=False),
        sa.Column("dedup_key", sa.String(length=64), nullable=False),
        sa.Column("segment", sa.JSON(), nullable=False),
        sa.Column("names", sa.JSON(), nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("thread", sa.String(length=200), nullable=False),
        sa.Column("level", sa.String(length=16), nullable=False),
        sa.Column("opened_slot", sa.DateTime(timezone=True), nullable=False),
        sa.Column("since_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_slot", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("end_kind", sa.String(length=24), nullable=False),
        sa.Column("handling", sa.String(length=16), nullable=False),
        sa.Column("handled_by", sa.String(length=320), nullable=False),
        sa.Column("handled_via", sa.String(length=16), nullable=False),
        sa.Column("handled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("handled_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("told_level", sa.String(length=16), nullable=False),
        sa.Column("flapping", sa.Boolean(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_episodes")),
        sa.UniqueConstraint("rule_uid", "series_key", "episode", name="uq_episodes_series"),
    )
    op.create_index("ix_episodes_ended", "episodes", ["ended_at"], unique=False)
    op.create_table(
        "exclusions",
        sa.Column("id", KEY, autoincrement=True, nullable=False),
        sa.Column("rule_uid", sa.String(length=200), nullable=False),
        sa.Column("kpi", sa.String(length=80), nullable=False),
        sa.Column("segment", sa.Text(), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("author", sa.String(length=320), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_exclusions")),
    )
    op.create_index("ix_exclusions_rule", "exclusions", ["rule_uid"], unique=False)


def _make_notices() -> None:
    op.create_table(
        "frames",
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_frames")),
    )
    op.create_table(
        "notices",
        sa.Column("id", KEY, autoincrement=True, nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=24), nullable=False),
        sa.Column("rule_uid", sa.String(length=200), nullable=False),
        sa.Column("series_key", sa.String(length=64), nullable=False),
        sa.Column("episode", sa.Integer(), nullable=False),
        sa.Column("receiver", sa.String(length=200), nullable=False),
        sa.Column("recipient", sa.String(length=320), nullable=False),
        sa.Column("group_key", sa.String(length=64), nullable=False),
        sa.Column("thread", sa.String(length=200), nullable=True),
        sa.Column("route", sa.Text(), nullable=False),
        sa.Column("frame", sa.String(length=64), nullable=False),
        sa.Column("flush_id", sa.String(length=64), nullable=True),
        sa.Column("item", sa.JSON(), nullable=False),
        sa.Column("level", sa.String(length=16), nullable=False),
        sa.Column("slot", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("held_by", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("not_before", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notices")),
        sa.UniqueConstraint("key", name=op.f("uq_notices_key")),
    )
    op.create_index("ix_notices_due", "notices", ["state", "not_before"], unique=False)
    op.create_index("ix_notices_flush", "notices", ["flush_id"], unique=False)
    op.create_index("ix_notices_group", "notices", ["receiver", "recipient", "group_key"], unique=False)
    op.create_index("ix_notices_series", "notices", ["rule_uid", "series_key", "episode"], unique=False)
    op.create_table(
        "groups",
        sa.Column("receiver", sa.String(length=200), nullable=False),
        sa.Column("recipient", sa.String(length=320), nullable=False),
        sa.Column("group_key", sa.String(length=64), nullable=False),
        sa.Column("thread", sa.String(length=200), nullable=True),
        sa.Column("first_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("repeats", sa.Integer(), nullable=False),
        sa.Column("next_repeat_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("open", sa.Integer(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("receiver", "recipient", "group_key", name=op.f("pk_groups")),
    )
    op.create_index(op.f("ix_groups_next_repeat_at"), "groups", ["next_repeat_at"], unique=False)


def _make_handling() -> None:
    op.create_table(
        "silences",
        sa.Column("id", KEY, autoincrement=True, nullable=False),
        sa.Column("matchers", sa.JSON(), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("author", sa.String(length=320), nullable=False),
        sa.Column("via", sa.String(length=16), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_by", sa.String(length=320), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_silences")),
    )
    op.create_index(op.f("ix_silences_ends_at"), "silences", ["ends_at"], unique=False)
    op.create_table(
        "audit",
        sa.Column("id", KEY, autoincrement=True, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.String(length=320), nullable=False),
        sa.Column("via", sa.String(length=16), nullable=False),
        sa.Column("action", sa.String(length=40), nullable=False),
        sa.Column("subject", sa.String(length=300), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    op.create_index(op.f("ix_audit_at"), "audit", ["at"], unique=False)
    op.create_index(op.f("ix_audit_subject"), "audit", ["subject"], unique=False)


def _refuse_changes() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for change in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER audit_no_{change.lower()} BEFORE {change} ON audit BEGIN SELECT RAISE(ABORT, '{_REFUSED}'); END"
            )
        return
    op.execute(
        "CREATE OR REPLACE FUNCTION kpid_audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{_REFUSED}'; END $$"
    )
    op.execute(
        "CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit "
        "FOR EACH STATEMENT EXECUTE FUNCTION kpid_audit_is_append_only()"
    )


def _number_open_episodes() -> None:
    """Alerts that fire while kpid is brought up to date are known by number from then on, too."""
    bind = op.get_bind()
    meta = sa.MetaData()
    tables = {name: sa.Table(name, meta, autoload_with=bind) for name in ("series", "rules", "events", "episodes")}
    series, rules, events, episodes = tables.values()
    labels = {
        row.rule_uid: _data(row.rule).get("labels") or {} for row in bind.execute(sa.select(rules.c.rule_uid, rules.c.rule))
    }
    for row in bind.execute(sa.select(series).where(series.c.status.in_(("firing", "recovering")))).all():
        mine = (events.c.rule_uid == row.rule_uid, events.c.series_key == row.series_key, events.c.episode == row.episode)
        fired = bind.execute(sa.select(events).where(*mine, events.c.kind == "fired").order_by(events.c.seq).limit(1)).first()
        identity = json.dumps([row.rule_uid, row.series_key, row.episode], separators=(",", ":"), ensure_ascii=False)
        values = {
            "rule_uid": row.rule_uid,
            "series_key": row.series_key,
            "episode": row.episode,
            "dedup_key": hashlib.sha256(identity.encode()).hexdigest(),
            "segment": json.loads(row.segment),
            "names": _data(row.names),
            "labels": labels.get(row.rule_uid, {}),
            "thread": _data(row.state).get("thread", ""),
            "level": row.level,
            "opened_slot": fired.slot if fired else row.last_slot,
            "opened_at": fired.at if fired else row.updated_at,
            "end_kind": "",
            "handling": "open",
            "handled_by": "",
            "handled_via": "",
            "comment": "",
            "told_level": row.level,
            "flapping": False,
            "updated_at": row.updated_at,
        }
        bind.execute(sa.insert(episodes).values(**values))


def _data(value: object) -> dict:
    return json.loads(value) if isinstance(value, str) else dict(value or {})
