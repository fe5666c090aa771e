"""Signed tokens: nothing but what we signed is believed."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpid.analysis.tokens import LASTS, Claim, claim_from, fingerprint, offered, signing_key, token_of
from kpid.plugin.redact import redact

NOW = datetime(2026, 11, 10, 9, 0, tzinfo=UTC)
KEY = "an-invented-secret-of-32-letters"
CLAIM = Claim("ack", "flush:ab12", "ada@example.com", NOW + LASTS)


def test_claim_comes_back():
    assert claim_from(token_of(CLAIM, KEY), KEY, NOW) == CLAIM


@pytest.mark.parametrize("who", ["", "Zoë Example", "a" * 300])
def test_any_recipient_fits(who):
    token = token_of(Claim("snooze", "flush:" + "f" * 64, who, NOW + LASTS), KEY)
    assert claim_from(token, KEY, NOW).who == who
    assert token.isascii()


def test_token_ends_with_its_time():
    token = token_of(CLAIM, KEY)
    claim_from(token, KEY, NOW + LASTS - timedelta(seconds=1))
    with pytest.raises(ValueError, match="expired"):
        claim_from(token, KEY, NOW + LASTS)


def test_other_key_is_refused():
    with pytest.raises(ValueError, match="another key"):
        claim_from(token_of(CLAIM, KEY), KEY + "x", NOW)


def test_without_a_key_nothing_is_signed_or_believed():
    with pytest.raises(ValueError, match="secret"):
        token_of(CLAIM, "")
    with pytest.raises(ValueError, match="damaged"):
        claim_from(token_of(CLAIM, KEY), "", NOW)
    assert offered("flush:1", "", NOW, key="", url="https://kpid.example.com") == ()


def test_claim_of_another_cannot_be_put_before_a_signature():
    told, _, signature = token_of(CLAIM, KEY).partition(".")
    forged = json.loads(base64.urlsafe_b64decode(told + "=="))
    forged[1] = "episode:99"
    body = base64.urlsafe_b64encode(json.dumps(forged).encode()).rstrip(b"=").decode()
    with pytest.raises(ValueError, match="another key"):
        claim_from(f"{body}.{signature}", KEY, NOW)


@given(place=st.integers(0, 150), letter=st.sampled_from("AZaz09-_."))
@settings(max_examples=60, deadline=None)
def test_no_changed_letter_is_believed(place, letter):
    token = token_of(CLAIM, KEY)
    place %= len(token)
    changed = token[:place] + letter + token[place + 1 :]
    if changed != token:
        with pytest.raises(ValueError):
            claim_from(changed, KEY, NOW)


@given(st.text(max_size=80))
@settings(max_examples=60, deadline=None)
def test_no_text_is_believed_and_none_breaks_it(text):
    with pytest.raises(ValueError) as caught:
        claim_from(text, KEY, NOW)
    assert len(text) < 8 or text not in str(caught.value)


def test_verb_that_we_do_not_know_is_refused():
    with pytest.raises(ValueError, match="another version"):
        claim_from(token_of(Claim("delete", "flush:1", "", NOW + LASTS), KEY), KEY, NOW)


def test_token_too_long_is_refused():
    with pytest.raises(ValueError, match="too long"):
        token_of(Claim("ack", "x" * 2_000, "", NOW), KEY)
    with pytest.raises(ValueError, match="damaged"):
        claim_from("a" * 5_000, KEY, NOW)


def test_key_is_the_configured_one_or_made_of_other_secrets():
    assert signing_key(KEY, ["x"]) == KEY
    assert signing_key(None, ["b", "a"]) == signing_key(None, ["a", "b", "a"]) != signing_key(None, ["a"])
    assert signing_key(None, ["", ""]) == ""


def test_actions_have_addresses_only_where_there_are_pages():
    without = offered("episode:7", "ada@example.com", NOW, key=KEY, url=None)
    assert [one.kind for one in without] == ["ack", "snooze", "silence"]
    assert {one.url for one in without} == {None}
    (ack, *_) = offered("episode:7", "ada@example.com", NOW, key=KEY, url="https://kpid.example.com")
    assert ack.url == f"https://kpid.example.com/a/{ack.token}"
    assert claim_from(ack.token, KEY, NOW).subject == "episode:7"
    assert ack.token not in repr(ack), "a token is a capability"
    assert fingerprint(ack.token) not in ack.token


def test_token_that_a_server_repeats_is_masked():
    token = token_of(CLAIM, KEY)
    told = redact(f"POST answered 400: unknown address https://kpid.example.com/a/{token}; {token}")
    assert token not in told
    assert told.count("***") == 2
