"""``kpid test``, ``kpid backtest`` and ``kpid preview`` as people run them."""

from __future__ import annotations

import json

import pytest

from tests.alerting.test_rulechecks import RULES, TEST
from tests.cli.test_cli import kpid  # noqa: F401 - a fixture

CONFIG = """
timezone: Europe/Berlin
receivers:
  sales-leads: {notifier: mailbox, folder: mail, from: kpid@example.com, to: [ada@example.com]}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rules.yml").write_text(RULES)
    (tmp_path / "sales.yml").write_text(TEST)
    return tmp_path


def test_rule_tests_run_without_a_configuration(kpid, folder):  # noqa: F811
    assert kpid("test", "sales.yml") == (0, "1 passed, 0 failed\n", "")


def test_failed_rule_tests_are_shown_with_all_that_was_found(kpid, folder):  # noqa: F811
    (folder / "sales.yml").write_text(TEST.replace("3: {ana: firing warn}", "3: {ana: ok}"))
    code, out, _ = kpid("test", "sales.yml")
    assert code == 1
    assert "FAILED  two bad weeks fire" in out
    assert "sales.yml:4, rule close_rate_low" in out
    assert "3 (2026-W04) ana: expected ok, found firing warn (19.0% is < 20%)" in out
    assert "2026-W06" in out
    assert out.endswith("0 passed, 1 failed\n")


def test_rule_tests_as_json(kpid, folder):  # noqa: F811
    code, out, _ = kpid("test", "sales.yml", "--format", "json")
    found = json.loads(out)
    assert (code, found["passed"], found["failed"]) == (0, 1, 0)
    assert found["tests"][0]["lines"][2]["events"] == ["fired"]


def test_mistakes_in_rule_tests_end_with_their_place(kpid, folder):  # noqa: F811
    (folder / "sales.yml").write_text(TEST.replace("rule: close_rate_low", "rule: close_rate_lwo"))
    code, _, err = kpid("test", "sales.yml")
    assert code == 78
    assert "sales.yml:5: there is no rule 'close_rate_lwo'" in err
    assert "Did you mean 'close_rate_low'?" in err


def test_a_folder_of_rule_tests_is_run_whole(kpid, folder):  # noqa: F811
    (folder / "rules" / "tests").mkdir(parents=True)
    assert kpid("test", "rules/tests")[0] == 78
    for name in ("one", "two"):
        (folder / "rules" / "tests" / f"{name}.yml").write_text(TEST.replace("[rules.yml]", "[../../rules.yml]"))
    assert kpid("test", "rules/tests")[1] == "2 passed, 0 failed\n"


def test_the_tests_beside_the_configuration_are_found(kpid, folder):  # noqa: F811
    (folder / "rules" / "tests").mkdir(parents=True)
    (folder / "rules" / "tests" / "sales.yml").write_text(TEST.replace("rules: [rules.yml]\n", ""))
    (folder / "kpid.yml").write_text(CONFIG + RULES.split("  - {name: calls")[0].replace("[owner, sales-leads]", "[sales-leads]"))
    code, out, err = kpid("test", "--verbose", "--config", "kpid.yml")
    assert (code, err) == (1, "")
    assert "expected to owner, it goes to sales-leads" in out
    assert not (folder / "var").exists(), "no store is made"


def test_without_tests_and_configuration_there_is_a_hint(kpid, folder):  # noqa: F811
    code, _, err = kpid("test")
    assert code == 78
    assert "there is no configuration" in err
