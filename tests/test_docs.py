"""The documents say what the program does: every command, key and state is in the README, and its examples work."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer.main
import yaml

from kpid.cli import app
from kpid.commands.capabilities import reference
from kpid.config.model import Config, ReportJob, Rule
from kpid.model import MeasurementState
from kpid.plugin import entities
from kpid.registry import load_plugins

ROOT = Path(__file__).parents[1]
README = "".join((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "plugins/kpis/README.md"))
"""The README, and the reference of KPIs that it points to."""


def _commands() -> list[str]:
    group = typer.main.get_command(app)
    return sorted(group.commands)  # type: ignore[attr-defined]


def test_every_command_is_documented() -> None:
    assert {name for name in _commands() if f"`kpid {name}" not in README} == set()


def test_every_documented_command_exists() -> None:
    named = set(re.findall(r"\| `kpid ([a-z]+)", README))
    assert named <= set(_commands())


@pytest.mark.parametrize("model", [Config, Rule, ReportJob])
def test_every_configuration_key_is_documented(model: type) -> None:
    fields = {field.alias or name for name, field in model.model_fields.items()} - {"folder", "file"}  # type: ignore[attr-defined]
    assert {name for name in fields if not re.search(rf"`?\b{name}\b`?", README)} == set()


def test_every_state_of_a_number_is_explained() -> None:
    assert {state for state in MeasurementState if f"| `{state}`" not in README} == set()


def test_every_entity_is_named() -> None:
    assert {name for name in entities.ENTITIES if f"`{name}`" not in README} == set()


def test_every_kpi_parameter_and_kind_of_plugin_is_documented() -> None:
    plugins = load_plugins()
    ours = {row.name for row in plugins.listing() if row.distribution == "kpid"}
    ways = ("`{}`", "connector: {}", "notifier: {}", "report: {}")
    assert {name for name in ours if not any(way.format(name) in README for way in ways)} == set()
    for kpi in plugins.kpis.values():
        for name, param in kpi.params.items():
            assert f"`{name}" in README, (kpi.id, name)
            assert all(choice in README for choice in param.choices), (kpi.id, name)


def test_the_table_of_connectors_is_what_they_declare() -> None:
    page = (ROOT / "plugins" / "connectors" / "README.md").read_text(encoding="utf-8")
    assert page == reference(load_plugins()), "`make reference` writes it anew"


def test_yaml_in_the_readme_is_yaml() -> None:
    blocks = re.findall(r"^( *)```yaml\n(.*?)```", README, flags=re.DOTALL | re.MULTILINE)
    assert len(blocks) >= 3
    for _, block in blocks:
        yaml.safe_load(block)


def test_every_make_target_in_the_readme_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"`make ([a-z-]+)`", README)):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


def test_no_address_of_a_package_index_is_in_the_lock_files() -> None:
    for lock in (ROOT / "requirements.lock", ROOT / "tests" / "requirements.lock"):
        text = lock.read_text(encoding="utf-8")
        assert "http" not in text
        assert "--hash=sha256:" in text


def test_the_lock_covers_what_the_project_asks_for() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    wanted = re.findall(r'^    "([a-z-]+)[\[>=<]', project.split("[project.optional-dependencies]")[0], flags=re.MULTILINE)
    locked = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert {name for name in wanted if f"\n{name}==" not in f"\n{locked}"} == set()
