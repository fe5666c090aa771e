"""The guide ``docs/write-a-connector.md``: its code is the connector in ``example_connector``, and that keeps the contract."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from kpid.commands.capabilities import list_capabilities
from kpid.commands.check import check_config
from kpid.config.load import load_config
from kpid.registry import load_plugins

ROOT = Path(__file__).parents[1]
FOLDER = Path(__file__).parent / "example_connector"
GUIDE = ROOT / "docs" / "write-a-connector.md"
TEXT = GUIDE.read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, flags=re.DOTALL)


def test_the_first_code_of_the_guide_is_the_connector_in_a_hundred_lines() -> None:
    code = (FOLDER / "kpid_shelf.py").read_text(encoding="utf-8")
    assert blocks("python")[0] == code
    assert len(code.splitlines()) <= 100


def test_the_other_code_of_the_guide_is_in_its_tests() -> None:
    tests = (FOLDER / "test_kpid_shelf.py").read_text(encoding="utf-8")
    assert len(blocks("python")) == 3
    for block in blocks("python")[1:]:
        assert block in tests


def test_links_of_the_guide_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", TEXT)
    assert len(links) >= 4
    assert [link for link in links if not (GUIDE.parent / link).exists()] == []


@pytest.mark.parametrize(("file", "doors"), [("kpid_shelf.py", {"plugin"}), ("test_kpid_shelf.py", {"testing"})])
def test_the_example_uses_the_public_door_only(file: str, doors: set[str]) -> None:
    tree = ast.parse((FOLDER / file).read_text(encoding="utf-8"))
    names = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    names |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert {name.split(".")[1] for name in names if name.split(".")[0] == "kpid"} == doors


def test_configuration_in_the_guide_is_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELF_TOKEN", "fake")
    (tmp_path / "plugins").symlink_to(FOLDER, target_is_directory=True)
    (tmp_path / "kpid.yml").write_text(blocks("yaml")[0], encoding="utf-8")
    plugins = load_plugins(plugins_dir=FOLDER)
    findings = check_config(load_config(tmp_path / "kpid.yml"), plugins)
    assert [finding for finding in findings if not finding.ok and finding.subject != "plugins"] == []
    assert {row["entity"] for row in list_capabilities(plugins) if row["connector"] == "shelf"} == {"accounts", "deals"}


def test_own_tests_of_the_example_pass() -> None:
    command = [sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_kpid_shelf.py"]
    environ = {**os.environ, "PYTHONPATH": str(FOLDER), "PYTHONDONTWRITEBYTECODE": "1", "KPID_WALKS": "1"}
    done = subprocess.run(command, cwd=FOLDER, env=environ, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
