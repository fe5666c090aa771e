from __future__ import annotations

import pytest

from kpid.alerting.ruletests import read_suite
from kpid.errors import ConfigError
from tests.alerting.world import rule

RULES = 'rules:\n  - {name: win-rate-low, kpi: win_rate, period: week, by: [owner], warn: "< 25%", to: [team]}\n'
TEST = """
rules: [rules.yml]
tests:
  - name: it fires
    rule: win-rate-low
    start: 2026-01-05
    series:
      - {owner: ana, value: 0.31 0.24, n: 400}
    expect:
      1: {ana: ok}
      2: {ana: firing warn, data: fresh}
    notices:
      - {at: 2, kind: fired, to: team, level: warn, segment: ana}
"""


@pytest.fixture
def read(tmp_path):
    (tmp_path / "rules.yml").write_text(RULES)

    def reading(text, rules=()):
        file = tmp_path / "tests.yml"
        file.write_text(text)
        return read_suite(file, rules)

    return reading


def test_a_file_is_read(read):
    suite = read(TEST)
    (test,) = suite.tests
    assert (test.name, test.rule, test.start.isoformat()) == ("it fires", "win-rate-low", "2026-01-05")
    assert test.expect == {1: {"ana": "ok"}, 2: {"ana": "firing warn", "data": "fresh"}}
    assert (test.notices[0].to, test.notices[0].kind.value) == (("team",), "fired")
    assert list(suite.rules) == ["win-rate-low"]
    assert suite.place("tests", 0, "series", 0).endswith("tests.yml:8")


def test_rules_of_the_configuration_are_tested_if_none_are_named(read):
    suite = read(TEST.replace("rules: [rules.yml]\n", ""), [rule()])
    assert suite.rules["win-rate-low"] == rule()


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        ("rule: win-rate-low", "rule: win-rate-lwo", 5, "there is no rule 'win-rate-lwo'"),
        ("ana: ok", "ana: fine", 9, "'fine' is no state"),
        ("ana: ok", 'ana: ""', 9, "'nothing' is no state"),
        ("kind: fired", "kind: shouted", 13, "kind"),
        ("at: 2", "at: 0", 13, "at"),
        ("start: 2026-01-05", "start: soon", 6, "start"),
        ("name: it fires", "nmae: it fires", 4, "unknown key 'nmae'"),
        ("    series:\n      - {owner: ana, value: 0.31 0.24, n: 400}\n", "    series: []\n", 7, "series"),
        ("rules: [rules.yml]", "rules: [none.yml]", 0, "there is no such file"),
        ("rules: [rules.yml]", "ruels: [rules.yml]", 2, "unknown key 'ruels': Did you mean"),
    ],
)
def test_mistakes_are_told_with_their_line(read, old, new, line, says):
    assert old in TEST
    with pytest.raises(ConfigError) as caught:
        read(TEST.replace(old, new))
    told = "\n".join(f"{one.where} {one.what}: {one.hint}" for one in getattr(caught.value, "errors", (caught.value,)))
    assert says in told
    assert (f"tests.yml:{line} " if line else "none.yml ") in told


def test_two_tests_have_two_names(read):
    twice = TEST + TEST.split("tests:\n")[1]
    with pytest.raises(ConfigError, match="two tests are called 'it fires'"):
        read(twice)


def test_mistakes_in_a_file_of_rules_have_their_place(read, tmp_path):
    (tmp_path / "rules.yml").write_text("rules:\n  - {name: x, kpi: win_rate, period: week}\n")
    with pytest.raises(ConfigError, match="a rule needs a condition") as caught:
        read(TEST)
    assert str(caught.value.where).endswith("rules.yml:2")


def test_other_parts_of_an_included_file_do_not_matter(read, tmp_path):
    (tmp_path / "rules.yml").write_text(RULES + "windows:\n  office: {days: mon-fri, outside: defer}\n")
    assert list(read(TEST).rules) == ["win-rate-low"]
