"""Writing to people in Slack, by address or by id."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kpid.plugin import DeliveryError
from tests.plugins.slack_fake_socket import SocketSlack
from tests.plugins.slack_server import CHANNEL
from tests.plugins.test_slack import message
from tests.plugins.test_slack_listening import notifier


@pytest.fixture
def slack():
    with SocketSlack() as slack:
        yield slack


@pytest.fixture
def bot(slack):
    made = notifier(slack)
    yield made
    made.close()


@pytest.mark.parametrize("recipient", ["ada@example.com", "U0000000001"])
def test_person_gets_it_in_a_conversation_and_what_follows_too(slack, bot, recipient):
    receipt = bot.send(message(recipient=recipient))
    assert [post["channel"] for post in slack.posts.values()] == ["D0000000001"]
    assert receipt.thread_ref.startswith("D0000000001:")
    over = message(2, recipient=recipient, thread_ref=receipt.thread_ref, status="resolved", closes_thread=True)
    bot.send(over)
    first, second = slack.posts.values()
    assert second["thread_ts"] == first["ts"]
    assert first["edited"]
    asked = [request.path for request in slack.requests]
    assert asked.count("/api/conversations.open") == 1, "a conversation is looked up once"


def test_channel_is_written_to_without_a_recipient(slack, bot):
    bot.send(message())
    assert [post["channel"] for post in slack.posts.values()] == [CHANNEL]


def test_thread_of_the_channel_is_not_taken_up_in_a_conversation(slack, bot):
    opener = bot.send(message())
    bot.send(message(2, recipient="ada@example.com", thread_ref=opener.thread_ref))
    assert "thread_ts" not in list(slack.posts.values())[-1]


def test_unknown_address_is_final_and_says_what_to_do(slack, bot):
    with pytest.raises(DeliveryError) as caught:
        bot.send(message(recipient="nobody@example.com"))
    assert caught.value.permanent
    assert "Slack id" in caught.value.hint
    assert not slack.posts


def test_message_to_a_person_is_found_again(slack, bot):
    one = message(recipient="ada@example.com")
    bot.send(one)
    assert bot.find(one).provider_id.startswith("D0000000001:")
    assert bot.find(replace(one, key="f" * 64)) is None


@pytest.mark.parametrize(
    ("recipient", "well"),
    [
        *[(text, True) for text in ("", "ada@example.com", "U0123456789", "W012")],
        *[(text, False) for text in ("C0123456789", "ada", "a b@c", "#sales")],
    ],
)
def test_who_can_be_written_to(slack, bot, recipient, well):
    assert bot.resolves(recipient) == well
    hook = notifier(slack, token=None, channel=None, app_token=None, webhook_url=f"{slack.url}/services/T1/B1/canary-hook")
    assert hook.resolves(recipient) == (recipient == "")
    assert not hook.listens
