"""The plugin in ``example_plugin`` is what the guide shows: it loads, keeps to the public door, and its own tests pass."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kpid.app import open_app
from kpid.commands.check import check_config
from kpid.config.load import load_config
from kpid.cycle import deliver, refresh
from kpid.registry import load_plugins
from kpid.testing import FakeClock

FOLDER = Path(__file__).parent / "example_plugin"
README = (FOLDER / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def unindented(text: str) -> str:
    return "".join(f"{line.strip()}\n" for line in text.splitlines() if line.strip())


def test_example_brings_one_of_each_kind() -> None:
    rows = [row for row in load_plugins(plugins_dir=FOLDER).listing() if row.distribution.endswith("kpid_example.py")]
    assert [(row.kind, row.name) for row in rows] == [
        ("connector", "inline"),
        ("filter", "dots"),
        ("kpi", "large_win_share"),
        ("notifier", "logfile"),
        ("report", "large_wins"),
    ]


@pytest.mark.parametrize(
    ("file", "doors"), [("kpid_example.py", {"kpid.plugin"}), ("test_kpid_example.py", {"kpid.plugin", "kpid.testing"})]
)
def test_example_uses_the_public_door_only(file: str, doors: set[str]) -> None:
    tree = ast.parse((FOLDER / file).read_text(encoding="utf-8"))
    names = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    names |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert {".".join(name.split(".")[:2]) for name in names if name.split(".")[0] == "kpid"} == doors


def test_code_in_the_guide_is_the_code_of_the_plugin() -> None:
    files = ("kpid_example.py", "test_kpid_example.py")
    code = "".join(unindented((FOLDER / file).read_text(encoding="utf-8")) for file in files)
    assert len(blocks("python")) >= 4
    for block in blocks("python"):
        assert unindented(block) in code
    assert blocks("toml")[0] in (FOLDER / "pyproject.toml").read_text(encoding="utf-8")


def test_configuration_in_the_guide_is_good(tmp_path: Path) -> None:
    (tmp_path / "kpid.yml").write_text(blocks("yaml")[0], encoding="utf-8")
    findings = check_config(load_config(tmp_path / "kpid.yml"), load_plugins(plugins_dir=FOLDER))
    assert [finding for finding in findings if not finding.ok and finding.subject != "plugins"] == []


def test_own_tests_of_the_example_pass() -> None:
    command = [sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_kpid_example.py"]
    environ = {**os.environ, "PYTHONPATH": str(FOLDER), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=FOLDER, env=environ, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_example_goes_the_whole_route(tmp_path: Path) -> None:
    small = "      - {id: 2, name: Example AG, owner: ada, state: won, amount: 2000, created: 2026-01-05, closed: 2026-02-10}\n"
    rule = "rules:\n  - {name: few-large, kpi: large_win_share, period: month, warn: '< 60%', min_sample: 1, to: log}\n"
    text = blocks("yaml")[0].replace("receivers:", f"{small}receivers:") + rule + f"plugins_dir: {FOLDER}\n"
    (tmp_path / "kpid.yml").write_text(text, encoding="utf-8")
    clock = FakeClock(datetime(2026, 3, 1, 7, tzinfo=UTC))
    app = open_app(tmp_path / "kpid.yml", clock)
    try:
        refresh(app, clock.now())
        assert deliver(app).sent == 1
    finally:
        app.close()
    [line] = (tmp_path / "var" / "messages.log").read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["status"] == "firing"
    assert "few-large" in json.loads(line)["title"]
