"""Rotated secrets are kept for the next process, by their owner alone."""

from __future__ import annotations

import json
import stat

import pytest

from kpid.errors import AuthError
from kpid.plugin import FileKeep, MemoryKeep, Secret, bound


@pytest.fixture(params=["memory", "file"])
def keep(request, tmp_path):
    return MemoryKeep() if request.param == "memory" else FileKeep(tmp_path / "kept", "crm")


def test_what_was_put_last_is_kept(keep):
    assert keep.get("refresh_token") is None
    keep.put("refresh_token", Secret("r1"))
    keep.put("refresh_token", Secret("r2"))
    keep.put("other", Secret("x"))
    assert keep.get("refresh_token").get_secret_value() == "r2"
    assert keep.get("other").get_secret_value() == "x"


def test_a_newly_configured_secret_makes_the_kept_one_void(keep):
    old, new = bound("refresh_token", Secret("configured-1")), bound("refresh_token", Secret("configured-2"))
    keep.put(old, Secret("rotated-1"))
    assert keep.get(new) is None
    keep.put(new, Secret("rotated-2"))
    assert keep.get(old) is None
    assert "configured" not in old


def test_another_process_finds_it_in_a_file_of_mode_600(tmp_path):
    FileKeep(tmp_path / "kept", "crm").put("refresh_token", Secret("r1"))
    file = tmp_path / "kept" / "crm.json"
    assert FileKeep(tmp_path / "kept", "crm").get("refresh_token") == Secret("r1")
    assert FileKeep(tmp_path / "kept", "other").get("refresh_token") is None
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert json.loads(file.read_text()) == {"refresh_token": "r1"}


def test_making_one_touches_nothing(tmp_path):
    keep = FileKeep(tmp_path / "kept", "crm")
    assert keep.get("refresh_token") is None
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_write_left_does_not_matter(tmp_path):
    keep = FileKeep(tmp_path / "kept", "crm")
    keep.put("refresh_token", Secret("r1"))
    (tmp_path / "kept" / "crm.new").write_text('{"refresh_')
    keep.put("refresh_token", Secret("r2"))
    assert keep.get("refresh_token") == Secret("r2")


def test_a_source_named_like_a_path_stays_in_the_folder(tmp_path):
    FileKeep(tmp_path / "kept", "../../etc/crm").put("t", Secret("x"))
    assert {path.name for path in tmp_path.iterdir()} == {"kept"}


@pytest.mark.parametrize("content", ["{", "[1]", ""])
def test_a_spoiled_file_is_an_error_that_says_what_to_do(tmp_path, content):
    (tmp_path / "crm.json").write_text(content)
    with pytest.raises(AuthError, match=r"crm\.json") as caught:
        FileKeep(tmp_path, "crm").get("t")
    assert caught.value.hint


def test_a_token_that_cannot_be_kept_is_told_at_once(tmp_path):
    (tmp_path / "kept").write_text("a file, no folder")
    with pytest.raises(AuthError, match="could not be kept") as caught:
        FileKeep(tmp_path / "kept", "crm").put("t", Secret("r1-secret"))
    assert "r1-secret" not in f"{caught.value}{caught.value.__cause__}"


def test_it_does_not_print_what_it_keeps(tmp_path):
    keep = FileKeep(tmp_path, "crm")
    keep.put("t", Secret("r1-secret"))
    assert "r1-secret" not in repr(keep)
