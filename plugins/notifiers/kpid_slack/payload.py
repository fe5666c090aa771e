"""A message as Slack's blocks, within its limits. Pure. Hostile text stays text: ``plain_text``, or escaped."""

from __future__ import annotations

import json
import re
from typing import Any

from kpid.plugin import Action, Link, Message, Section, mail

MAX_BLOCKS = 40
MAX_CHARACTERS = 11_000
MAX_SECTION = 3_000
MAX_HEADER = 150
MAX_FIELDS = 10
MAX_ROWS = 25
MAX_BUTTONS = 5
MAX_VALUE = 2_000
BUTTONS = "kpid_actions"
"""``block_id`` of the buttons; a button's ``action_id`` is ``kpid:<kind>:<number>``, its ``value`` the action's token."""
_NOT_TEXT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
ICONS = {"firing": "🔴 ", "resolved": "✅ ", "info": ""}


def payload(message: Message, *, buttons: bool = False) -> dict[str, Any]:
    """Text for notifications and screen readers, and blocks within Slack's limits.

    Args:
        message: what to say.
        buttons: somebody listens to buttons; without it actions are links where they have an address.
    """
    title = mail.one_line(message.title, 300)
    return {
        "text": escape(f"{ICONS[message.status]}{title}"),
        "blocks": _within_budget(_blocks(message), _foot(message, buttons=buttons)),
        "unfurl_links": False,
        "unfurl_media": False,
    }


def short_payload(message: Message) -> dict[str, Any]:
    """Title and text alone: what is posted when Slack does not take the blocks."""
    text = escape(f"{ICONS[message.status]}{mail.one_line(message.title, 300)}\n{message.text}")
    return {"text": _cut(text, MAX_SECTION), "unfurl_links": False, "unfurl_media": False}


def escape(text: str) -> str:
    """Make ``& < >`` inert, so that no text can mention (``<!channel>``) or link."""
    return _NOT_TEXT.sub("", text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _blocks(message: Message) -> list[dict[str, Any]]:
    """All parts but those of :func:`_foot`."""
    sections = message.sections or (Section("headline", message.title), Section("text", message.text))
    icon = ICONS[message.status]
    blocks = []
    for section in sections[:-1] if sections[-1].kind == "note" else sections:
        blocks.extend(_block(section, icon))
        if section.kind == "headline":
            icon = ""
    return blocks


def _foot(message: Message, *, buttons: bool) -> list[dict[str, Any]]:
    """What to do, and the small print: never left out, however much there is above."""
    acts = [action for action in message.actions if buttons and _can_press(action)][:MAX_BUTTONS]
    urls = [Link(action.label, action.url) for action in message.actions if action not in acts and action.url]
    blocks: list[dict[str, Any]] = []
    if links := [text for link in (*message.links, *urls) if (text := _link(link).strip())][:MAX_BUTTONS]:
        blocks.append({"type": "section", "text": _mrkdwn("  |  ".join(links))})
    if acts:
        elements = [_button(action, number) for number, action in enumerate(acts)]
        blocks.append({"type": "actions", "block_id": BUTTONS, "elements": elements})
    if message.sections and message.sections[-1].kind == "note":
        blocks.extend(_block(message.sections[-1], ""))
    return blocks


def _can_press(action: Action) -> bool:
    return 0 < len(action.token) <= MAX_VALUE // MAX_BUTTONS and action.kind != "open"


def _button(action: Action, number: int) -> dict[str, Any]:
    found = {
        "type": "button",
        "action_id": f"kpid:{action.kind}:{number}",
        "text": _plain(mail.one_line(action.label, 75) or action.kind, 75),
        "value": action.token,
    }
    return {**found, "style": "primary"} if action.kind == "ack" else found


def _block(section: Section, icon: str) -> list[dict[str, Any]]:
    match section.kind:
        case "headline":
            return [{"type": "header", "text": _plain(icon + mail.one_line(section.text, MAX_HEADER - len(icon)), MAX_HEADER)}]
        case "text":
            parts = [section.text[at : at + MAX_SECTION] for at in range(0, len(section.text), MAX_SECTION)]
            return [{"type": "section", "text": _plain(part)} for part in parts if part.strip()]
        case "facts":
            fields = [_plain(f"{label}\n{value}", 2_000) for label, value in section.pairs]
            return [{"type": "section", "fields": fields[at : at + MAX_FIELDS]} for at in range(0, len(fields), MAX_FIELDS)]
        case "rows":
            return _rows(section)
        case "note" | "image":
            text = section.text or "A picture is in the mail."
            return [{"type": "context", "elements": [_plain(text, 1_000)]}]


def _rows(section: Section) -> list[dict[str, Any]]:
    lines = [mail.one_line(f"{what}: {value}", 300) for what, value in section.pairs]
    if len(lines) > MAX_ROWS:
        lines = [*lines[:MAX_ROWS], f"and {len(lines) - MAX_ROWS} more"]
    text = "\n".join(([section.text] if section.text else []) + lines)
    return [{"type": "section", "text": _plain(text)}] if text.strip() else []


def _within_budget(blocks: list[dict[str, Any]], foot: list[dict[str, Any]]) -> list[dict[str, Any]]:
    kept: list[dict[str, Any]] = []
    size = 200 + sum(map(_size, foot))  # 200 for the note
    for block in blocks:
        size += _size(block)
        if len(kept) + len(foot) >= MAX_BLOCKS - 1 or size > MAX_CHARACTERS:
            rest = len(blocks) - len(kept)
            note = f"Shortened: {rest} more part{'s' if rest > 1 else ''} did not fit into a Slack message."
            return [*kept, {"type": "context", "elements": [_plain(note)]}, *foot]
        kept.append(block)
    return [*kept, *foot]


def _size(block: dict[str, Any]) -> int:
    return len(json.dumps(block, ensure_ascii=False))


def _plain(text: str, limit: int = MAX_SECTION) -> dict[str, Any]:
    return {"type": "plain_text", "text": _cut(_NOT_TEXT.sub("", text), limit).strip() or " ", "emoji": False}


def _mrkdwn(text: str) -> dict[str, Any]:
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _link(link: Link) -> str:
    url = link.url.replace("|", "%7C").replace("<", "%3C").replace(">", "%3E").replace(" ", "%20")
    label = escape(mail.one_line(link.label, 75)).replace("|", "/")
    return f"<{url}|{label.strip() or 'open'}>" if url.startswith(("https://", "http://")) and len(url) <= 500 else label


def _cut(text: str, limit: int) -> str:
    """At most ``limit`` characters as Slack counts them: those beyond the first 65,536 are two."""
    if len(text) * 2 <= limit or len(text.encode("utf-16-le")) // 2 <= limit:
        return text
    units = text.encode("utf-16-le")[: (limit - 1) * 2]
    return f"{units.decode('utf-16-le', 'ignore')}…"
