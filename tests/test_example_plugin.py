"""The plugin in ``example_plugin`` is what the guide shows: it loads, keeps to the public door, and its own tests pass."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from kpid.commands.check import check_config
from kpid.config.load import load_config
from kpid.registry import load_plugins

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
