"""No secret gets into a text, and the rest of it stays readable."""

from __future__ import annotations

import base64

import pytest

from kpid.plugin.redact import Redactor, redact, redact_url

SECRET = "s3cr3t/with+odd=chars"


@pytest.mark.parametrize(
    "text",
    [
        f"plain {SECRET}", "quoted s3cr3t%2Fwith%2Bodd%3Dchars", f"base64 {base64.b64encode(SECRET.encode()).decode()}",
        f"twice {SECRET}{SECRET}",
    ],
)  # fmt: skip
def test_a_known_secret_is_masked_in_every_form(text):
    masked = redact(text, [SECRET])
    assert "s3cr3t" not in masked
    assert base64.b64encode(SECRET.encode()).decode() not in masked
    assert "***" in masked


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("Authorization: Bearer abcdef123456", "Authorization: Bearer ***"),
        ("basic QWxhZGRpbjpvcGVu", "basic ***"),
        ('{"access_token": "abcdef"}', '{"access_token": "***"}'),
        ("api_key=abcdef&x=1", "api_key=***&x=1"),
        ("password: hunter2!", "password: ***"),
        ("https://user:pass@crm.example.com/x", "https://crm.example.com/x"),
        ("two\r\nlines\x00 \u202e", "two lines"),
        ("The token has expired", "The token has expired"),
    ],
)
def test_likely_secrets_are_masked_and_other_text_is_not(text, masked):
    assert redact(text) == masked


def test_a_long_text_is_cut():
    assert len(redact("x" * 5000)) == 300


def test_a_very_short_secret_does_not_garble_the_text():
    assert redact("a cat", ["a"]) == "a cat"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://u:p@h.example.com:8443/a?limit=5&token=abc", "https://h.example.com:8443/a?limit=5&token=***"),
        ("https://h.example.com/a?code=1&hapikey=2&after=3", "https://h.example.com/a?code=***&hapikey=***&after=3"),
        ("https://h.example.com", "https://h.example.com"),
    ],
)
def test_an_address_is_shown_without_its_secrets(url, shown):
    assert redact_url(url) == shown


def test_an_address_whose_path_is_the_secret_shows_its_host():
    assert Redactor(tuple, path=False).url("https://hooks.example.com/services/T0/B0/xyz?a=1") == "https://hooks.example.com"


def test_a_redactor_asks_for_the_secrets_each_time():
    secrets = ["first-one"]
    redactor = Redactor(lambda: secrets)
    assert redactor.text("first-one second-one") == "*** second-one"
    secrets.append("second-one")
    assert redactor.text("first-one second-one") == "*** ***"
