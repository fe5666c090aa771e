"""A backtest of 2017 on a real pipeline: what the README prints is what kpid says, and the counts are those of the files.

``python -m tests.journey.test_backtest`` prints what the README and the golden file have to hold.
"""

from __future__ import annotations

import csv
import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.journey.shell import Shell, make_shell
from tests.journey.test_crm_sales_opportunities import DATA, HERE, NOW, pytestmark  # noqa: F401 - the data must be there

ROOT = HERE.parents[1]
GOLDEN = ROOT / "tests" / "golden" / "backtest" / "win_rate_2017.json"
RULES = ("win-rate-low", "win-rate-sure", "win-rate-drop", "win-rate-quarter")
LEAST = 20


def made(folder: Path) -> Shell:
    """The pipeline, read; with the rules of the README."""
    company = (HERE / "crm_sales_opportunities.yml").read_text(encoding="utf-8")
    before, after = company.split("rules:\n")[0], company.split("\nreports:\n")[1]
    rules = (HERE / "backtest_2017.yml").read_text(encoding="utf-8")
    shell = make_shell(folder, f"{before}{rules}\nreports:\n{after}", KPID_DATA=str(DATA))
    shell.run("sync", now=NOW)
    return shell


def tried(shell: Shell, rule: str, *arguments: str) -> dict[str, Any]:
    found = shell.json("backtest", rule, "--from", "2017-01-01", "--to", "2018-01-01", *arguments, now=NOW)
    assert isinstance(found, dict)
    return found


def table(found: dict[str, Any]) -> str:
    """The runs as the README has them."""
    rows = [
        f"| {one['guards']} | {one['breaches']} | {one['episodes']} | {one['notices']} | {one['per_week']:.2f} |"
        f" {one['saved']['notices'] if number else ''} |"
        for number, one in enumerate(found["runs"])
    ]
    head = f"| `{found['rule']}` | breaches | episodes | notices | per week | notices saved |"
    return "\n".join([head, "|---|---|---|---|---|---|", *rows])


def golden(found: dict[str, Any]) -> dict[str, Any]:
    """What may not change unnoticed."""
    episodes = [{**one, "value": round(one["value"], 6)} for one in found["episodes"]]
    runs = [{key: value for key, value in one.items() if key != "weekly"} for one in found["runs"]]
    return {"rule": found["rule"], "series": found["series"], "runs": runs, "episodes": episodes}


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    return made(tmp_path_factory.mktemp("backtest"))


@pytest.fixture(scope="module")
def found(shell: Shell) -> dict[str, dict[str, Any]]:
    return {rule: tried(shell, rule) for rule in RULES}


def test_breaches_are_those_of_the_files(found: dict[str, dict[str, Any]]) -> None:
    won, closed = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    with (DATA / "sales_pipeline.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["close_date"].startswith("2017"):
                key = (row["sales_agent"], row["close_date"][:7])
                closed[key] += 1
                won[key] += row["deal_stage"] == "Won"
    low = [key for key in closed if 2 * won[key] < closed[key]]
    few = [key for key in low if closed[key] < LEAST]
    own, without = found["win-rate-low"]["runs"]
    assert (len(closed), len(low), len(few)) == (300, 69, 33)
    assert (own["breaches"], without["breaches"]) == (len(low) - len(few), len(low))
    assert without["saved"]["breaches"] == len(few), "what min_sample saved"
    fired = {(one["segment"], one["fired"]) for one in found["win-rate-low"]["episodes"]}
    assert fired <= {key for key in low if closed[key] >= LEAST}


def test_the_numbers_are_the_golden_ones(found: dict[str, dict[str, Any]]) -> None:
    assert [golden(found[rule]) for rule in RULES] == json.loads(GOLDEN.read_text(encoding="utf-8"))


@pytest.mark.parametrize("rule", RULES)
def test_the_readme_prints_what_kpid_says(found: dict[str, dict[str, Any]], rule: str) -> None:
    assert table(found[rule]) in (ROOT / "README.md").read_text(encoding="utf-8")


def test_no_guard_takes_a_season_away(found: dict[str, dict[str, Any]]) -> None:
    """Each quarter begins with a drop that is as sure as it is usual; judged by quarter it is gone."""
    months = [one["fired"] for one in found["win-rate-drop"]["episodes"]]
    assert months == ["2017-07", "2017-10"], "in April there is too little before to test against"
    assert len(found["win-rate-quarter"]["episodes"]) < 5 < len(found["win-rate-low"]["episodes"])


def test_the_year_can_be_drawn(shell: Shell) -> None:
    file = shell.folder / "2017.png"
    tried(shell, "win-rate-sure", "--picture", str(file))
    assert file.read_bytes().startswith(b"\x89PNG")
    assert file.stat().st_size > 20_000


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        shown = [tried(made(Path(folder)), rule) for rule in RULES]
    GOLDEN.parent.mkdir(parents=True, exist_ok=True)
    GOLDEN.write_text(json.dumps([golden(one) for one in shown], indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print("\n\n".join(table(one) for one in shown))
