"""The Slack receiver against a Slack on this machine."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kpid_slack import Slack, SlackSettings
from kpid_slack.payload import MAX_BLOCKS, MAX_CHARACTERS, payload, short_payload
from pydantic import ValidationError

from kpid.plugin import Action, DeliveryError, Image, Link, Message, NotifierContext, Receipt, Section
from kpid.testing import FakeApi, FakeClock, NotifierBench, NotifierContract, Request, faults
from tests.plugins.slack_server import CHANNEL, TOKEN, FakeSlack, wrong_with

NOW = datetime(2026, 11, 2, 6, 30, tzinfo=UTC)


@pytest.fixture
def slack() -> Iterator[FakeSlack]:
    with FakeSlack() as slack:
        yield slack


@pytest.fixture
def bot(slack: FakeSlack) -> Iterator[Slack]:
    made = notifier({"token": TOKEN, "channel": CHANNEL, "api_url": f"{slack.url}/api", "timeout": 2})
    yield made
    made.close()


@pytest.fixture
def hook(slack: FakeSlack) -> Iterator[Slack]:
    made = notifier({"webhook_url": f"{slack.url}/services/T1/B1/canary-hook", "timeout": 2})
    yield made
    made.close()


def notifier(options: dict[str, object]) -> Slack:
    return Slack(SlackSettings.model_validate(options), NotifierContext("sales-chat", Path(), FakeClock(NOW)))


def message(number: int = 1, **changes: object) -> Message:
    one = Message(
        key=f"{number:064x}",
        kind="alert",
        title="Win rate is 41 %, threshold < 50 %",
        text="Down from 52 %.",
        created_at=NOW,
        sections=(
            Section("headline", "Win rate is 41 %"),
            Section("facts", pairs=(("Previous", "52 %"), ("n", "21"))),
            Section("rows", pairs=(("Ada Example", "41 %"), ("Bob Example", "39 %"))),
            Section("image", "A falling line", image="trend"),
            Section("note", "Data as of 08:00"),
        ),
        links=(Link("Open in CRM", "https://crm.example.com/?a=1|2"),),
        status="firing",
    )
    return replace(one, **changes)


def refused(bot: Slack, one: Message | None = None) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        bot.send(one or message())
    assert "canary" not in f"{caught.value}{caught.value.__cause__}{bot.settings!r}"
    return caught.value


def texts(blocks: object) -> list[dict[str, object]]:
    """All text objects of a payload."""
    if isinstance(blocks, dict):
        own = [blocks] if isinstance(blocks.get("text"), str) else []
        return own + [found for value in blocks.values() for found in texts(value)]
    return [found for one in blocks for found in texts(one)] if isinstance(blocks, list) else []


def test_message_becomes_blocks() -> None:
    made = payload(message())
    assert made["text"] == "🔴 Win rate is 41 %, threshold &lt; 50 %"
    types = [block["type"] for block in made["blocks"]]
    assert types == ["header", "section", "section", "context", "section", "context"], "what to do stands above the small print"
    assert made["blocks"][0]["text"] == {"type": "plain_text", "text": "🔴 Win rate is 41 %", "emoji": False}
    assert [field["text"] for field in made["blocks"][1]["fields"]] == ["Previous\n52 %", "n\n21"]
    assert made["blocks"][2]["text"]["text"] == "Ada Example: 41 %\nBob Example: 39 %"
    assert made["blocks"][4]["text"]["text"] == "<https://crm.example.com/?a=1%7C2|Open in CRM>"
    assert (made["unfurl_links"], made["unfurl_media"]) == (False, False)


@pytest.mark.parametrize(
    "hostile", ["<!channel> now", "<@U1> & co", "<https://evil.example.com|win rate>", "a\r\nb", "*bold* :tada:"]
)
def test_hostile_text_stays_text(hostile: str) -> None:
    one = message(
        title=hostile,
        text=hostile,
        sections=tuple(Section(kind, hostile, ((hostile, hostile),)) for kind in ("headline", "text", "facts", "rows", "note")),
        links=(Link(hostile, "https://crm.example.com"), Link("x", "javascript:alert(1)"), Link("y", "https://x|<!here>")),
    )
    for made in (payload(one), short_payload(one)):
        raw = [made["text"], *(str(text["text"]) for text in texts(made.get("blocks", [])) if text["type"] == "mrkdwn")]
        for text in raw:
            assert "<!" not in text
            assert "<@" not in text
            assert not re.search(r"<(?!https://(crm\.example\.com|x%7C))", text)
        assert all(text["emoji"] is False for text in texts(made.get("blocks", [])) if text["type"] == "plain_text")


def test_thousand_rows_are_folded() -> None:
    rows = tuple((f"Owner {number}", "41 %") for number in range(1000))
    made = payload(message(sections=(Section("headline", "Win rate"), Section("rows", pairs=rows))))
    assert made["blocks"][1]["text"]["text"].endswith("Owner 24: 41 %\nand 975 more")


ACTIONS = (
    Action("ack", "Acknowledge", "token-1", "https://kpid.example.com/a/1"),
    Action("snooze", "Snooze <1 day>", "token-2"),
    Action("open", "Look", "token-3", "https://kpid.example.com/a/3"),
)


def test_actions_are_buttons_where_somebody_listens() -> None:
    blocks = payload(message(actions=ACTIONS), buttons=True)["blocks"]
    [block] = [block for block in blocks if block["type"] == "actions"]
    assert [(one["action_id"], one["value"], one["text"]["text"]) for one in block["elements"]] == [
        ("kpid:ack:0", "token-1", "Acknowledge"),
        ("kpid:snooze:1", "token-2", "Snooze <1 day>"),
    ]
    links = [block["text"]["text"] for block in blocks if block.get("text", {}).get("type") == "mrkdwn"]
    assert links == ["<https://crm.example.com/?a=1%7C2|Open in CRM>  |  <https://kpid.example.com/a/3|Look>"]


def test_actions_are_links_where_nobody_listens() -> None:
    made = json.dumps(payload(message(actions=ACTIONS)))
    assert "<https://kpid.example.com/a/1|Acknowledge>" in made
    assert "Snooze" not in made, "what leads nowhere is not offered"
    assert "token-" not in made


def test_what_to_do_is_kept_however_much_there_is_to_say() -> None:
    parts = [Section("rows", "x" * 200, tuple((f"Owner {number}", "41 %") for number in range(20))) for _ in range(200)]
    sections = (Section("headline", "Win rate"), *parts, Section("note", "Data as of 08:00"))
    blocks = payload(message(sections=sections, actions=ACTIONS), buttons=True)["blocks"]
    assert [block["type"] for block in blocks[-4:]] == ["context", "section", "actions", "context"]
    assert blocks[-4]["elements"][0]["text"].startswith("Shortened: ")
    assert blocks[-1]["elements"][0]["text"] == "Data as of 08:00"
    assert wrong_with({"channel": CHANNEL, "blocks": blocks}) is None


def test_old_upload_method_is_never_called(slack: FakeSlack, bot: Slack) -> None:
    """Pictures stay in the mail: nothing is uploaded, by the retired method or any other."""
    bot.send(message(images=(Image("trend", b"\x89PNG", "A falling line", 10, 10),)))
    assert {request.path for request in slack.requests} == {"/api/chat.postMessage"}


part = st.builds(
    Section,
    st.sampled_from(["headline", "text", "facts", "rows", "note", "image"]),
    st.text(max_size=5000),
    st.lists(st.tuples(st.text(max_size=60), st.text(max_size=2500)), max_size=30).map(tuple),
)


@settings(max_examples=60, deadline=None)
@given(title=st.text(max_size=500), parts=st.lists(part, max_size=60).map(tuple))
def test_no_message_breaks_the_limits(title: str, parts: tuple[Section, ...]) -> None:
    made = payload(message(title=title, sections=parts))
    assert len(made["blocks"]) <= MAX_BLOCKS
    assert len(json.dumps(made["blocks"], ensure_ascii=False)) <= MAX_CHARACTERS + 200
    assert wrong_with({"channel": CHANNEL, "blocks": made["blocks"]}) is None


def test_post_carries_the_key_and_gives_a_thread(slack: FakeSlack, bot: Slack) -> None:
    receipt = bot.send(message())
    ((ts, post),) = slack.posts.items()
    assert receipt.provider_id == receipt.thread_ref == f"{CHANNEL}:{ts}"
    assert post["metadata"]["event_payload"] == {"kpid_key": f"{1:064x}"}
    assert "thread_ts" not in post


def test_resolution_goes_into_the_thread_and_onto_the_first_message(slack: FakeSlack, bot: Slack) -> None:
    opened = bot.send(message(1))
    over = message(
        2, title="Resolved: win rate is 55 %", status="resolved", closes_thread=True, sections=(), thread_ref=opened.thread_ref
    )
    receipt = bot.send(over)
    first, reply = slack.posts.values()
    assert reply["thread_ts"] == first["ts"]
    assert receipt.thread_ref == opened.thread_ref
    assert first["edited"]
    assert first["text"] == reply["text"] == "✅ Resolved: win rate is 55 %"
    assert first["metadata"]["event_payload"]["kpid_key"] == f"{1:064x}", "still to be found by its own key"


def test_update_that_fails_does_not_lose_the_reply(slack: FakeSlack, bot: Slack) -> None:
    opened = bot.send(message(1))
    slack.refuse["chat.update"] = ["cant_update_message"]
    bot.send(message(2, status="resolved", closes_thread=True, thread_ref=opened.thread_ref))
    assert len(slack.posts) == 2


def test_thread_whose_first_message_is_gone_starts_afresh(slack: FakeSlack, bot: Slack) -> None:
    receipt = bot.send(message(2, thread_ref=f"{CHANNEL}:1.000001"))
    (post,) = slack.posts.values()
    assert "thread_ts" not in post
    assert receipt.thread_ref == f"{CHANNEL}:{post['ts']}"


def test_thread_of_another_channel_is_not_used(slack: FakeSlack, bot: Slack) -> None:
    bot.send(message(2, thread_ref="C9:1.000001"))
    (post,) = slack.posts.values()
    assert "thread_ts" not in post


@pytest.mark.parametrize(
    ("word", "permanent", "unknown"),
    [
        ("channel_not_found", True, False),
        ("not_in_channel", True, False),
        ("is_archived", True, False),
        ("token_revoked", True, False),
        ("invalid_auth", True, False),
        ("missing_scope", True, False),
        ("restricted_action", True, False),
        ("a_word_of_next_year", True, False),
        ("ratelimited", False, False),
        ("service_unavailable", False, False),
        ("internal_error", False, True),
        ("fatal_error", False, True),
    ],
)
def test_refusal_is_understood(slack: FakeSlack, bot: Slack, word: str, permanent: bool, unknown: bool) -> None:
    slack.refuse["chat.postMessage"] = [word]
    error = refused(bot)
    assert (error.permanent, error.unknown) == (permanent, unknown)
    if word != "ratelimited":
        assert word in error.what
    if permanent and "word" not in word:
        assert error.hint


def test_rate_limit_says_how_long_to_wait(slack: FakeSlack, bot: Slack) -> None:
    slack.refuse["chat.postMessage"] = ["ratelimited"]
    assert refused(bot).retry_after == timedelta(seconds=30)


@pytest.mark.parametrize("word", ["msg_too_long", "msg_blocks_too_long", "invalid_blocks"])
def test_blocks_that_are_not_taken_lose_no_alert(slack: FakeSlack, bot: Slack, word: str) -> None:
    slack.refuse["chat.postMessage"] = [word]
    bot.send(message())
    (post,) = slack.posts.values()
    assert "blocks" not in post
    assert "Down from 52 %." in post["text"]
    assert post["metadata"]["event_payload"]["kpid_key"] == f"{1:064x}"


@pytest.mark.parametrize(
    ("fault", "unknown"),
    [
        (faults.reset(), True),
        (faults.silence(), True),
        (faults.cut(), True),
        (faults.bad_gateway(), True),
        (faults.status(503), False),
    ],
    ids=["reset", "silence", "cut", "502", "503"],
)
def test_trouble_on_the_way_is_tried_again(slack: FakeSlack, bot: Slack, fault: object, unknown: bool) -> None:
    short = notifier({"token": TOKEN, "channel": CHANNEL, "api_url": f"{slack.url}/api", "timeout": 0.3})
    slack.fail(fault)
    error = refused(short)
    assert (error.permanent, error.unknown) == (False, unknown)
    assert short.find(message()) == bot.find(message())
    short.close()


def test_page_of_a_proxy_is_no_yes(slack: FakeSlack, bot: Slack) -> None:
    slack.fail(faults.html_ok())
    assert not refused(bot).permanent


def test_message_that_arrived_after_all_is_found(slack: FakeSlack, bot: Slack) -> None:
    assert bot.find(message(1)) is None
    opened = bot.send(message(1))
    for number in range(2, 7):
        bot.send(message(number))
    assert bot.find(message(1)) == replace(opened, detail="found in the channel")
    reply = bot.send(message(9, thread_ref=opened.thread_ref))
    found = bot.find(message(9, thread_ref=opened.thread_ref))
    assert found is not None
    assert (found.provider_id, found.thread_ref) == (reply.provider_id, opened.thread_ref)


def test_looking_without_the_scope_is_a_final_no(slack: FakeSlack, bot: Slack) -> None:
    slack.refuse["conversations.history"] = ["missing_scope"]
    with pytest.raises(DeliveryError) as caught:
        bot.find(message())
    assert caught.value.permanent


def test_check_logs_in_and_posts_nothing(slack: FakeSlack, bot: Slack, hook: Slack) -> None:
    (finding,) = bot.check()
    assert (finding.ok, "Example Inc." in finding.text) == (True, True)
    slack.refuse["auth.test"] = ["token_revoked"]
    (finding,) = bot.check()
    assert (finding.ok, "token" in finding.hint) == (False, True)
    assert [finding.ok for finding in hook.check()] == [True]
    assert (slack.posts, slack.hooks) == ({}, [])


def test_webhook_posts_the_same_without_a_thread(slack: FakeSlack, hook: Slack) -> None:
    receipt = hook.send(message(1, thread_ref=f"{CHANNEL}:1"))
    assert slack.hooks == [payload(message(1))]
    assert (receipt.thread_ref, hook.find(message(1))) == (None, None)


@pytest.mark.parametrize(
    ("word", "permanent"),
    [("no_service", True), ("channel_is_archived", True), ("action_prohibited", True), ("rollup_error", False)],
)
def test_webhook_refusal_is_understood(slack: FakeSlack, hook: Slack, word: str, permanent: bool) -> None:
    slack.refuse["hook"] = [word]
    error = refused(hook)
    assert error.permanent is permanent
    assert bool(error.hint) is permanent


def test_webhook_that_does_not_take_blocks_gets_the_text(slack: FakeSlack, hook: Slack) -> None:
    slack.refuse["hook"] = ["invalid_payload"]
    hook.send(message())
    assert slack.hooks == [short_payload(message())]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "either"),
        ({"token": TOKEN}, "channel's id"),
        ({"token": TOKEN, "channel": "#sales"}, "match pattern"),
        ({"token": TOKEN, "channel": CHANNEL, "webhook_url": "https://hooks.slack.com/x"}, "either"),
        ({"webhook_url": "http://hooks.example.com/x"}, "https://"),
    ],
)
def test_settings_that_cannot_work_are_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said) as caught:
        notifier(options)
    assert TOKEN not in str(caught.value)


class SlackBench(NotifierBench):
    """A bot and its Slack."""

    api: FakeSlack
    secrets = (TOKEN,)
    statuses: ClassVar = {400: "refused", 401: "refused", 403: "refused", 404: "refused", 429: "retry", 503: "retry"}
    forbidden = ()  # in plain_text nothing is a mention or a link; test_hostile_text_stays_text looks at the rest
    max_bytes = 24_000

    def notifier(self, *, reachable: bool = True) -> Slack:
        url = self.api.url if reachable else "http://127.0.0.1:9"
        return notifier({"token": TOKEN, "channel": CHANNEL, "api_url": f"{url}/api", "timeout": 0.3})

    def texts(self, request: Request) -> str:
        made = request.json()
        return "\n".join([made["text"], *(str(text["text"]) for text in texts(made["blocks"]))])


class HookBench(SlackBench):
    """An incoming webhook."""

    secrets = ("canary-hook",)

    def notifier(self, *, reachable: bool = True) -> Slack:
        url = self.api.url if reachable else "http://127.0.0.1:9"
        return notifier({"webhook_url": f"{url}/services/T1/B1/canary-hook", "timeout": 0.3})


class TestContract(NotifierContract):
    @pytest.fixture(params=[SlackBench, HookBench])
    def bench(self, slack: FakeSlack, request: pytest.FixtureRequest) -> NotifierBench:
        made = request.param()
        made.api = slack
        return made


def test_server_that_is_not_there_did_not_get_it() -> None:
    with FakeApi() as gone:
        bot = notifier({"token": TOKEN, "channel": CHANNEL, "api_url": f"{gone.url}/api"})
    error = refused(bot)
    bot.close()
    assert (error.permanent, error.unknown) == (False, False)


# ---- changing what was posted
ACK = (Action("ack", "Acknowledge", "t" * 20),)


def handled(opened: Receipt, **changes: object) -> Message:
    """The first message with who has taken it up, in its place."""
    said = (Section("headline", "Win rate is 41 %"), Section("text", "Acknowledged by ada at Mon 2 Nov, 07:30 CET"))
    given = {"sections": said, "replaces": f"{1:064x}", "replaces_ref": opened.provider_id, "thread_ref": opened.thread_ref}
    return message(9, **{**given, **changes})


def test_message_that_takes_the_place_of_another_changes_it_and_posts_nothing(slack: FakeSlack) -> None:
    bot = notifier({"token": TOKEN, "app_token": "xapp-canary", "channel": CHANNEL, "api_url": f"{slack.url}/api", "timeout": 2})
    opened = bot.send(message(1, actions=ACK))
    (post,) = slack.posts.values()
    assert [block["type"] for block in post["blocks"]].count("actions") == 1
    receipt = bot.send(handled(opened))
    (post,) = slack.posts.values()
    assert "Acknowledged by ada" in json.dumps(post["blocks"])
    assert "actions" not in [block["type"] for block in post["blocks"]]
    assert post["metadata"]["event_payload"]["kpid_key"] == f"{1:064x}"
    assert (receipt.provider_id, receipt.thread_ref) == (opened.provider_id, opened.thread_ref)
    assert bot.find(handled(opened)) is None
    bot.close()


@pytest.mark.parametrize("word", ["message_not_found", "cant_update_message", "edit_window_closed", "msg_too_long"])
def test_message_that_cannot_be_changed_stays_as_it_was(slack: FakeSlack, bot: Slack, word: str) -> None:
    opened = bot.send(message(1))
    slack.refuse["chat.update"] = [word]
    assert bot.send(handled(opened)).detail == f"left as it was: Slack answered {word}"
    assert len(slack.posts) == 1


@pytest.mark.parametrize("word", ["ratelimited", "internal_error", "service_unavailable"])
def test_change_is_tried_again_without_doubt(slack: FakeSlack, bot: Slack, word: str) -> None:
    opened = bot.send(message(1))
    slack.refuse["chat.update"] = [word]
    with pytest.raises(DeliveryError) as error:
        bot.send(handled(opened))
    assert (error.value.permanent, error.value.unknown) == (False, False)
    assert bot.send(handled(opened)).detail == "changed"


def test_message_that_never_arrived_cannot_be_changed(slack: FakeSlack, bot: Slack, hook: Slack) -> None:
    for one in (bot, hook):
        assert one.send(handled(Receipt())).detail == "there is no message to change"
    assert not slack.posts
    assert bot.updates
    assert not hook.updates


def test_end_of_one_of_several_alerts_does_not_hide_the_others(slack: FakeSlack, bot: Slack) -> None:
    opened = bot.send(message(1))
    over = message(2, title="Resolved: Ada Example", status="resolved", thread_ref=opened.thread_ref)
    bot.send(over)
    first, _ = slack.posts.values()
    assert "edited" not in first
    bot.send(replace(over, key=f"{3:064x}", closes_thread=True))
    assert first["edited"]
