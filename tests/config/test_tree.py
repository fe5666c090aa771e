from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpid.config.tree import MAX_BYTES, read_tree
from kpid.errors import ConfigError


def write(folder: Path, text: str) -> Path:
    file = folder / "kpid.yml"
    file.write_text(text, encoding="utf-8")
    return file


def refusal(file: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        read_tree(file)
    return str(caught.value)


def test_values_are_plain_and_every_key_and_item_has_its_line(tmp_path: Path) -> None:
    file = write(tmp_path, "a: 1\nb:\n  - x\n  - {c: true, d: null}\ne: {f: 1.5}\n")
    tree = read_tree(file)
    assert tree.value == {"a": 1, "b": ["x", {"c": True, "d": None}], "e": {"f": 1.5}}
    lines = {path: int(place.rpartition(":")[2]) for path, place in tree.places.items()}
    assert lines[("a",)] == 1
    assert lines[("b",)] == 2
    assert lines[("b", 0)] == 3
    assert lines[("b", 1, "d")] == 4
    assert lines[("e", "f")] == 5
    assert tree.places[("a",)] == f"{file}:1"


def test_only_true_and_false_are_truth_values_and_times_stay_text(tmp_path: Path) -> None:
    text = "country: NO\nflag: yes\nat: 07:30\nday: 2017-01-01\nnumber: 1_200\ncode: 007\nversion: 1.10.0\n"
    text += "quoted: '25'\nshare: 25%\n"
    assert read_tree(write(tmp_path, text)).value == {
        "country": "NO",
        "flag": "yes",
        "at": "07:30",
        "day": "2017-01-01",
        "number": "1_200",
        "code": "007",
        "version": "1.10.0",
        "quoted": "25",
        "share": "25%",
    }


def test_keys_are_taken_as_written(tmp_path: Path) -> None:
    assert read_tree(write(tmp_path, "on: a\n1: b\ntrue: c\n")).value == {"on": "a", "1": "b", "true": "c"}


def test_anchors_and_merge_keys_work_with_own_keys_first(tmp_path: Path) -> None:
    text = "base: &base {a: 1, b: 2}\nmore: &more {b: 3, c: 4}\none: {<<: *base, a: 9}\ntwo:\n  <<: [*base, *more]\n"
    value = read_tree(write(tmp_path, text)).value
    assert value["one"] == {"a": 9, "b": 2}
    assert value["two"] == {"a": 1, "b": 2, "c": 4}


def test_merge_of_something_else_is_refused(tmp_path: Path) -> None:
    assert "takes over the keys of a mapping" in refusal(write(tmp_path, "a: &a [1]\nb: {<<: *a, c: 1}\n"))


def test_all_mistakes_of_a_file_are_told_at_once(tmp_path: Path) -> None:
    said = refusal(write(tmp_path, "a: .nan\nb: !!set {x}\na: 2\nc: -.inf\n"))
    assert [line.split(":")[1] for line in said.splitlines()] == ["1", "2", "3", "4"]


def test_missing_file_says_how_to_get_one(tmp_path: Path) -> None:
    assert "there is no such file. See config/kpid.yml in the README" in refusal(tmp_path / "none.yml")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    assert "cannot be read" in refusal(tmp_path)


def test_large_file_is_refused_unread(tmp_path: Path) -> None:
    said = refusal(write(tmp_path, "a: " + "x" * MAX_BYTES))
    assert "1,000,000 are allowed" in said
    assert len(said) < 500


def test_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "kpid.yml"
    file.write_bytes(b"a: \xff\xfe\n")
    assert "not UTF-8 text (byte 3)" in refusal(file)
    file.write_bytes(b"a: \x01\n")
    assert "characters that YAML does not allow" in refusal(file)


def test_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "kpid.yml"
    file.write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert read_tree(file).value == {"a": 1}


@pytest.mark.parametrize(
    "text",
    [
        "a: " + "[" * 200 + "]" * 200,
        "a: " + "[" * 900_000,
        "a:" + " - -" * 90_000,
        "[" * 900_000,
        "a: &a [*a]\n",
        "a: &a {b: *a}\n",
    ],
)
def test_endless_nesting_is_refused(tmp_path: Path, text: str) -> None:
    assert refusal(write(tmp_path, text))


@pytest.mark.parametrize("text", ["0", "-3", "12", "1.5", "-0.25", "120000", "3.14159"])
def test_number_is_a_number_if_it_prints_as_written(tmp_path: Path, text: str) -> None:
    value = read_tree(write(tmp_path, f"a: {text}\n")).value["a"]
    assert not isinstance(value, str)
    assert str(value) == text


@pytest.mark.parametrize(
    "text", ["007", "1_000", "1.10", "+5", "1e5", "1.0e+400", "0x1f", "0o17", "9" * 5000, "12345678901234567890", "-0"]
)
def test_number_that_would_print_otherwise_stays_text(tmp_path: Path, text: str) -> None:
    assert read_tree(write(tmp_path, f"a: {text}\n")).value["a"] == text


@settings(max_examples=80, deadline=None)
@given(st.text(alphabet=st.sampled_from("ab:-[]{}&*!|>'\"%#\n\t ,<0.~?"), max_size=40))
def test_no_text_raises_anything_but_a_config_error(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    file = write(tmp_path_factory.mktemp("yaml"), text)
    with contextlib.suppress(ConfigError):
        assert isinstance(read_tree(file).value, dict)
