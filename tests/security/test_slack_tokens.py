"""What Slack would act on stays text, wherever it stands in a message."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from kpid_slack.payload import payload, short_payload

from kpid.plugin import Link, Message, Section
from tests.security.hostile import SLACK

KINDS = ("headline", "text", "facts", "rows", "image", "note")


def _message(text: str) -> Message:
    sections = tuple(Section(kind, text, ((text, text),)) for kind in KINDS)  # type: ignore[arg-type]
    links = (Link(text, "https://crm.example.com/a?b=1&c=2"), Link("open", text), Link("x", f"https://crm.example.com/{text}"))
    return Message(
        key="ab" * 32,
        kind="alert",
        title=text,
        text=text,
        created_at=datetime(2026, 11, 2, tzinfo=UTC),
        sections=sections,
        links=links,
    )


def _objects(found: object) -> list[dict[str, object]]:
    if isinstance(found, dict):
        own = [found] if found.get("type") in {"plain_text", "mrkdwn"} else []
        return own + [one for value in found.values() for one in _objects(value)]
    return [one for value in found for one in _objects(value)] if isinstance(found, list) else []


@pytest.mark.parametrize("name", SLACK)
def test_values_are_plain_text_and_what_is_not_is_escaped(name: str) -> None:
    made = payload(_message(SLACK[name]))
    for text in _objects(made["blocks"]):
        if text["type"] == "plain_text":
            assert text["emoji"] is False
            continue
        assert text["verbatim"] is True
        for part in str(text["text"]).split("  |  "):  # one link, or a label without any
            assert part.count("<") == part.count(">") <= 1
            assert not part.startswith(("<!", "<@", "<#"))
            address, _, label = part.strip("<>").partition("|")
            assert not part.startswith("<") or (address.startswith(("https://", "http://")) and "|" not in label)


@pytest.mark.parametrize("name", SLACK)
def test_text_for_notifications_is_escaped(name: str) -> None:
    for made in (payload(_message(SLACK[name])), short_payload(_message(SLACK[name]))):
        assert "<" not in made["text"]
        assert ">" not in made["text"]
        assert made["unfurl_links"] is made["unfurl_media"] is False
        assert "link_names" not in made
        assert "parse" not in made
    if name == "escaped":
        assert "&amp;lt;!channel&amp;gt;" in payload(_message(SLACK[name]))["text"]
