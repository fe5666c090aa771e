from __future__ import annotations

import base64
import json
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

from kpid.config.secrets import References, passwords_in, redact, secrets_in
from kpid.errors import ConfigError
from kpid.plugin import Secret, Settings

HERE = "kpid.yml:7"


def references(folder: Path, **environ: str) -> References:
    return References(environ, folder)


def test_text_without_references_stays(tmp_path: Path) -> None:
    assert references(tmp_path).resolve("100 $ and {{ x }}", HERE) == ("100 $ and {{ x }}", frozenset())


def test_env_is_replaced_alone_and_inside_a_text(tmp_path: Path) -> None:
    given_ = references(tmp_path, HOST="db.example.com", PORT="5432")
    assert given_.resolve("${env:HOST}", HERE)[0] == "db.example.com"
    assert given_.resolve("tcp://${env:HOST}:${env:PORT}/x", HERE)[0] == "tcp://db.example.com:5432/x"


def test_env_is_no_secret_by_itself(tmp_path: Path) -> None:
    assert references(tmp_path, KPID_DATA="/data").resolve("${env:KPID_DATA}/deals.csv", HERE) == ("/data/deals.csv", frozenset())


def test_file_is_read_from_the_folder_without_its_last_newline(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret-token\n")
    assert references(tmp_path).resolve("${file:token}", HERE) == ("s3cret-token", frozenset({"s3cret-token"}))
    assert references(tmp_path).resolve(f"Bearer ${{file:{tmp_path}/token}}", HERE)[0] == "Bearer s3cret-token"


def test_credential_is_read_from_the_credentials_directory(tmp_path: Path) -> None:
    (tmp_path / "slack").write_text("xoxb-credential")
    text, secrets = references(Path("/nowhere"), CREDENTIALS_DIRECTORY=str(tmp_path)).resolve("${cred:slack}", HERE)
    assert text == "xoxb-credential"
    assert secrets == {"xoxb-credential"}


@pytest.mark.parametrize("name", ["../token", "a/b", "", ".hidden"])
def test_credential_name_cannot_leave_the_directory(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be the name of a credential"):
        references(tmp_path, CREDENTIALS_DIRECTORY=str(tmp_path)).resolve(f"${{cred:{name}}}", HERE)


def test_double_dollar_is_a_plain_reference_sign(tmp_path: Path) -> None:
    assert references(tmp_path).resolve("$${env:X} and $${", HERE)[0] == "${env:X} and ${"


def test_values_are_not_resolved_again(tmp_path: Path) -> None:
    assert references(tmp_path, A="${env:B}", B="never").resolve("${env:A}", HERE)[0] == "${env:B}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("${env:NONE}", "the environment variable NONE is not set. Start kpid with NONE=..."),
        ("${env:EMPTY}", "the environment variable EMPTY is empty"),
        ("${file:none}", "cannot be read"),
        ("${file:empty}", "is empty"),
        ("${file:.}", "cannot be read"),
        ("${file:large}", "is larger than"),
        ("${file:binary}", "is not UTF-8 text"),
        ("${cred:x}", "needs $CREDENTIALS_DIRECTORY"),
        ("${vault:x}", "is no kind of reference"),
        ("${X}", "does not say where its value is. Write ${env:X}"),
        ("${}", "does not say where its value is"),
        ("${env:X", "is not closed"),
    ],
)
def test_wrong_reference_is_refused_with_place_and_cure(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "large").write_text("x" * 70_000)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError) as caught:
        references(tmp_path, EMPTY="").resolve(text, HERE)
    assert said in str(caught.value)
    assert str(caught.value).startswith(HERE)


def test_password_of_a_url_is_a_secret_wherever_it_came_from(tmp_path: Path) -> None:
    url, secrets = references(tmp_path, PW="p%40ss-word").resolve("postgresql://kpid:${env:PW}@db/kpid", HERE)
    assert url == "postgresql://kpid:p%40ss-word@db/kpid"
    assert secrets == {"p%40ss-word", "p@ss-word"}
    assert list(passwords_in("https://example.com:8080/a@b")) == []


class Inner(Settings):
    key: Secret


class Outer(Settings):
    token: Secret
    host: str
    url: str = "https://bot:hidden-pw@example.com/"
    inner: Inner
    many: tuple[Inner, ...] = ()
    named: dict[str, Inner] = Field(default_factory=dict)


def test_secrets_of_settings_are_found_however_deep() -> None:
    given_ = {
        "token": "aaaa",
        "host": "example.com",
        "inner": {"key": "bbbb"},
        "many": [{"key": "cccc"}],
        "named": {"x": {"key": "dddd"}},
    }
    settings_ = Outer.model_validate(given_)
    assert secrets_in(settings_) == {"aaaa", "bbbb", "cccc", "dddd", "hidden-pw"}
    assert "aaaa" not in repr(settings_)
    assert "aaaa" not in str(settings_.model_dump())


SECRET = 'to/ke+n "ü" & more'


@pytest.mark.parametrize(
    "form",
    [
        SECRET,
        quote(SECRET, safe=""),
        quote(SECRET),
        SECRET.replace(" ", "+").replace("/", "%2F").replace("+", "%2B", 1),
        json.dumps(SECRET),
        repr(SECRET),
        base64.b64encode(SECRET.encode()).decode(),
        base64.urlsafe_b64encode(SECRET.encode()).decode(),
    ],
)
def test_redact_masks_every_form(form: str) -> None:
    if form.startswith("to%2Fke%2Bn+"):
        form = "to%2Fke%2Bn+%22%C3%BC%22+%26+more"
    said = redact(f"GET /?t={form} failed", [SECRET])
    assert "***" in said
    assert "ke" not in said.replace("***", "")


@settings(max_examples=40)
@given(st.text(alphabet=st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=12), st.integers(0, 9))
def test_redact_masks_a_password_inside_basic_auth(user: str, length: int) -> None:
    password = "correct-horse-battery"[: 12 + length]
    header = base64.b64encode(f"{user}:{password}".encode()).decode()
    said = redact(f"Authorization: Basic {header}", [password])
    assert "***" in said
    assert header not in said


def test_redact_leaves_short_secrets_and_no_secrets_alone() -> None:
    assert redact("a banana", ["a", "na", ""]) == "a banana"
    assert redact("a banana", []) == "a banana"


def test_redact_masks_the_longer_of_two_nested_secrets() -> None:
    assert redact("key=abcdefgh", ["abcd", "abcdefgh"]) == "key=***"


def test_redact_masks_single_lines_of_a_key_file() -> None:
    pem = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0B\nshort\n-----END KEY-----"
    assert redact("line MIIEvQIBADANBgkqhkiG9w0B is bad", [pem]) == "line *** is bad"
