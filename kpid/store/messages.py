"""How a message is kept: canonical JSON in the outbox, its pictures once each in ``contents``, by their sha256."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import Table

from kpid.model import canonical_json
from kpid.plugin.notifier import Action, Image, Link, Message, Section
from kpid.store.tables import contents


def insert_new(conn: Connection, table: Table, values: Mapping[str, Any]) -> bool:
    """Insert a row unless its key is there; False if it was. Safe against another process doing the same."""
    build = postgresql.insert if conn.dialect.name == "postgresql" else sqlite.insert
    row = build(table).values(**values).on_conflict_do_nothing().returning(*table.primary_key)
    return conn.execute(row).first() is not None


def store_message(conn: Connection, message: Message, now: datetime) -> dict[str, Any]:
    """Put the pictures away and return the rest as plain JSON data.

    Args:
        conn: a write transaction.
        message: as composed.
        now: when the pictures were first seen.

    Returns:
        What goes into ``outbox.message``; equal messages give equal data.
    """
    pictures = []
    for image in message.images:
        digest = hashlib.sha256(image.png).hexdigest()
        insert_new(conn, contents, {"sha256": digest, "body": image.png, "created_at": now})
        pictures.append({"name": image.name, "sha256": digest, "alt": image.alt, "width": image.width, "height": image.height})
    body = {
        "key": message.key,
        "kind": message.kind,
        "title": message.title,
        "text": message.text,
        "html": message.html,
        "sections": [
            {"kind": part.kind, "text": part.text, "pairs": [list(pair) for pair in part.pairs], "image": part.image}
            for part in message.sections
        ],
        "facts": dict(message.facts),
        "images": pictures,
        "links": [{"label": link.label, "url": link.url} for link in message.links],
        "actions": [{"kind": one.kind, "label": one.label, "token": one.token, "url": one.url} for one in message.actions],
        "recipient": message.recipient,
        "thread": message.thread,
        "follows": list(message.follows),
        "thread_ref": message.thread_ref,
        "created_at": message.created_at.isoformat(),
        "status": message.status,
        "list_id": message.list_id,
        **({"closes_thread": True} if message.closes_thread else {}),
        **({"replaces": message.replaces} if message.replaces else {}),
    }
    plain: dict[str, Any] = json.loads(canonical_json(body))
    return plain


def load_message(conn: Connection, body: Mapping[str, Any]) -> Message:
    """The message as it was enqueued. A picture that is no longer kept is left out."""
    wanted = picture_ids(body)
    found = {}
    if wanted:
        rows = conn.execute(select(contents.c.sha256, contents.c.body).where(contents.c.sha256.in_(wanted)))
        found = {digest: bytes(png) for digest, png in rows}
    return Message(
        key=body["key"],
        kind=body["kind"],
        title=body["title"],
        text=body["text"],
        created_at=datetime.fromisoformat(body["created_at"]),
        html=body["html"],
        sections=tuple(
            Section(part["kind"], part["text"], tuple((pair[0], pair[1]) for pair in part["pairs"]), part["image"])
            for part in body["sections"]
        ),
        facts=body["facts"],
        images=tuple(
            Image(image["name"], found[image["sha256"]], image["alt"], image["width"], image["height"])
            for image in body["images"]
            if image["sha256"] in found
        ),
        links=tuple(Link(link["label"], link["url"]) for link in body["links"]),
        recipient=body["recipient"],
        thread=body["thread"],
        follows=tuple(body["follows"]),
        thread_ref=body["thread_ref"],
        status=body["status"],
        list_id=body["list_id"],
        actions=tuple(Action(one["kind"], one["label"], one["token"], one["url"]) for one in body.get("actions", ())),
        closes_thread=body.get("closes_thread", False),
        replaces=body.get("replaces", ""),
    )


def picture_ids(body: Mapping[str, Any]) -> set[str]:
    """The sha256 of every picture that a stored message names."""
    return {image["sha256"] for image in body.get("images", ())}


def delete_pictures(conn: Connection, digests: Iterable[str]) -> int:
    """Delete pictures by sha256; returns how many there were."""
    wanted = sorted(digests)
    if not wanted:
        return 0
    return conn.execute(contents.delete().where(contents.c.sha256.in_(wanted))).rowcount
