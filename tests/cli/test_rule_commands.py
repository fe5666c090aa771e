"""``kpid test``, ``kpid backtest`` and ``kpid preview`` as people run them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.alerting.test_rulechecks import RULES, TEST
from tests.cli.test_cli import kpid  # noqa: F401 - a fixture
from tests.runtime.world import CONFIG as CONFIG_OF_THE_WORLD
from tests.runtime.world import NOW, make_world

ROOT = Path(__file__).parents[2]
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


def _shown(text, until):
    """The example in some text: from ``rules:`` to a line, without what stands before each line."""
    lines = text[: text.index(until) + len(until)].split("\n")
    first = max(number for number, line in enumerate(lines) if line.strip().startswith("rules: ["))
    indent = len(lines[first]) - len(lines[first].lstrip())
    return "\n".join(line[indent:] for line in lines[first:]).split("\n```")[0] + "\n"


def _tried(kpid, folder, text):  # noqa: F811
    (folder / "rules" / "tests").mkdir(parents=True, exist_ok=True)
    (folder / "rules" / "sales.yml").write_text((ROOT / "config/rules/sales.yml").read_text())
    (folder / "rules" / "tests" / "sales.yml").write_text(text)
    return kpid("test", "rules/tests/sales.yml")


def test_the_example_of_the_help_passes(kpid, folder):  # noqa: F811
    code, shown, _ = kpid("test", "--help")
    assert code == 0
    assert _tried(kpid, folder, _shown(shown, "kind: fired, level: warn, to: team}")) == (0, "1 passed, 0 failed\n", "")


@pytest.mark.parametrize("until", ["{at: 5, kind: resolved}", "{at: 4, kind: fired, to: team}"])
def test_the_examples_of_the_readme_pass(kpid, folder, until):  # noqa: F811
    text = (ROOT / "README.md").read_text()
    assert _tried(kpid, folder, _shown(text, until)) == (0, "1 passed, 0 failed\n", "")


def test_steps_and_what_was_told_are_shown(kpid, folder):  # noqa: F811
    text = _shown((ROOT / "README.md").read_text(), "{at: 4, kind: fired, to: team}")
    code, shown, _ = _tried(
        kpid, folder, text.replace("after: 2h, ack", "after: 5h, ack").replace("after: 3h, expect", "after: 6h, expect")
    )
    assert code == 1
    assert "notices: not expected: escalation warn of ada at 4 (Fri 1 May, 04:00 UTC), to team:cso@example.com" in shown
    rows = [line.split() for line in shown.splitlines()]
    assert ["4", "Fri", "1", "May,", "04:00", "UTC", "ada", "warn", "told:", "escalation", "to", "team:cso@example.com"] in rows
    assert ["4", "Fri", "1", "May,", "05:00", "UTC", "ack", "by", "ben"] in rows


def test_without_tests_and_configuration_there_is_a_hint(kpid, folder):  # noqa: F811
    code, _, err = kpid("test")
    assert code == 78
    assert "there is no configuration" in err


# ---- backtest

WEEKLY = CONFIG_OF_THE_WORLD.replace(
    "rules:\n",
    "rules:\n"
    '  - {name: wins, kpi: won_deals, period: week, warn: "< 6", for: 2x, to: [team]}\n'
    '  - {name: many, kpi: won_deals, period: week, warn: "> 4", to: [team]}\n'
    "  - {name: silent, absence: {source: all}, to: [team]}\n",
)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    shell = make_world(tmp_path_factory.mktemp("world"), WEEKLY)
    shell.run("run", "--once", now=NOW)
    return shell


def tried(kpid, world, *arguments):  # noqa: F811
    return kpid("--now", NOW, "backtest", *arguments, "--config", world.config)


def test_backtest_prints_guards_and_episodes(kpid, world):  # noqa: F811
    code, out, err = tried(kpid, world, "wins", "--from", "2026-09-28", "--to", "2026-11-09")
    assert (code, err) == (0, "")
    assert "wins (Won deals, week): 2026-W40 to 2026-W45, 1 series" in out
    assert "without for: 2x" in out
    assert "still firing" in out


def test_backtest_of_a_time_without_figures_says_so(kpid, world):  # noqa: F811
    calls = world.folder / "calls.yml"
    calls.write_text(
        WEEKLY.replace("name: wins, kpi: won_deals, period: week,", "name: wins, kpi: win_rate, period: week, by: [owner],")
    )
    arguments = ("wins", "--from", "2025-01-01", "--to", "2025-03-01", "--config", calls)
    assert "there are no figures in this time" in kpid("--now", NOW, "backtest", *arguments)[1]


def test_backtest_uses_history_where_it_reaches_back(kpid, world):  # noqa: F811
    arguments = ("wins", "--from", "2026-10-05", "--to", "2026-11-09", "--format", "json")
    kept, new = (json.loads(tried(kpid, world, *arguments, *more)[1]) for more in ((), ("--recompute",)))
    assert (kept.pop("figures"), new.pop("figures")) == ("history", "measured now")
    assert kept == new
    assert kept["periods"] == ["2026-W41", "2026-W42", "2026-W43", "2026-W44", "2026-W45"]
    assert kept["runs"][0]["guards"] == "as configured"
    assert kept["runs"][1]["saved"]["breaches"] == 0


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_backtest_draws_a_picture(kpid, world, ending):  # noqa: F811
    file = world.folder / f"wins.{ending}"
    assert tried(kpid, world, "wins", "--from", "2026-10-05", "--picture", file)[0] == 0
    assert file.read_bytes().startswith(b"\x89PNG" if ending == "png" else b"<svg")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("wnis", "--from", "2026-10-05"), 1, "Did you mean 'wins'?"),
        (("wins",), 2, "--from"),
        (("wins", "--from", "soon"), 1, "neither a day nor an instant"),
        (("wins", "--from", "2026-11-09"), 1, "no week lies between"),
        (("wins", "--from", "2026-10-05", "--picture", "x.gif"), 2, ".png"),
        (("silent", "--from", "2026-12-05"), 1, "no hour lies between"),
    ],
)
def test_wrong_backtests_are_explained(kpid, world, arguments, code, says):  # noqa: F811
    found, _, err = tried(kpid, world, *arguments)
    assert found == code
    assert says in " ".join(err.split())


def test_backtest_of_a_silent_source(kpid, tmp_path):  # noqa: F811
    silent = "rules:\n  - {name: silent, absence: {source: all}, to: [team]}"
    world = make_world(tmp_path, CONFIG_OF_THE_WORLD.replace("rules:", silent))
    for hour in ("09:12", "10:12", "15:12"):
        assert kpid("--now", f"2026-11-10T{hour}:00+01:00", "sync", "--config", world.config)[0] == 0
    now = "2026-11-10T16:12:00+01:00"
    code, out, err = kpid("--now", now, "backtest", "silent", "--from", "2026-11-01", "--config", world.config)
    assert (code, err) == (0, "")
    assert "silent (Time without news, hour): 2026-11-01 00:00 to 2026-11-10 15:00, 1 series" in out
    assert "figures: syncs" in out
    assert "2026-11-10 15:00 (resolved)" in out
    picture = world.folder / "silent.png"
    arguments = ("silent", "--from", "2026-11-01", "--picture", picture, "--format", "json", "--config", world.config)
    found = json.loads(kpid("--now", now, "backtest", *arguments)[1])
    assert [(one["fired"], one["end"], one["threshold"]) for one in found["episodes"]] == [
        ("2026-11-10 12:00", "resolved", "> 2 h")
    ]
    assert picture.read_bytes().startswith(b"\x89PNG")


# ---- preview


def previewed(kpid, world, *arguments):  # noqa: F811
    return kpid("--now", NOW, "preview", *arguments, "--config", world.config)


def test_preview_of_a_rule_that_was_just_judged(kpid, world):  # noqa: F811
    code, out, err = previewed(kpid, world, "wins")
    assert (code, err) == (0, "")
    assert "nothing has come due since it was last judged" in out


def test_preview_renders_what_would_have_been_sent(kpid, world):  # noqa: F811
    mails = len(world.mails())
    code, out, err = previewed(kpid, world, "many", "--at", "2026-10-12")
    assert (code, err) == (0, "")
    assert "many, 2026-W41, as it would have been then (figures: " in out
    assert "--- message 1 of 1: team to a@example.com (to: of the rule)" in out
    assert "Won deals rose to 5 in" in out
    assert "firing" in out
    assert len(world.mails()) == mails


def test_preview_of_what_does_not_come(kpid, world):  # noqa: F811
    late = kpid("--now", "2026-11-11T09:12:00+01:00", "preview", "silent", "--config", world.config, "--format", "json")
    found = json.loads(late[1])
    (one,) = found["messages"]
    assert one["receiver"] == "team"
    assert "crm" in one["text"]


def test_preview_of_a_new_rule_is_its_first_round(kpid, world):  # noqa: F811
    new = WEEKLY.replace(
        "  - {name: wins,", '  - {name: new, kpi: won_deals, period: day, warn: "< 2", to: [team]}\n  - {name: wins,'
    )
    file = world.folder / "new.yml"
    file.write_text(new)
    found = json.loads(kpid("--now", NOW, "preview", "new", "--config", file, "--format", "json")[1])
    assert found["judged"] == "as its first round will (figures: measured now)"
    assert found["period"] == "2026-11-09"
    (one,) = found["messages"]
    assert (one["receiver"], one["recipients"], one["held"], one["wait"]) == ("team", ["a@example.com"], "", 0.0)
    assert found["series"][0]["status"] == "firing"
    assert json.loads(kpid("--now", NOW, "alerts", "list", "--rule", "new", "--config", file, "--format", "json")[1]) == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("wnis",), "Did you mean 'wins'?"),
        (("silent", "--at", "2026-10-12"), "cannot be judged in the past"),
        (("wins", "--at", "soon"), "neither a day nor"),
    ],
)
def test_wrong_previews_are_explained(kpid, world, arguments, says):  # noqa: F811
    code, _, err = previewed(kpid, world, *arguments)
    assert code == 1
    assert says in " ".join(err.split())
