"""Every file in ``bad_config`` has one mistake, and a first line that says what kpid must tell of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from kpid.commands.check import check_config
from kpid.config.load import load_config
from kpid.config.problems import each_error
from kpid.errors import ConfigError, KpidError
from kpid.registry import load_plugins

FOLDER = Path(__file__).parent / "bad_config"
FILES = sorted(FOLDER.glob("*.yml"))
MARK = "# error: "


def mistakes(file: Path) -> list[str]:
    """What kpid says of a configuration, one text per mistake."""
    try:
        loaded = load_config(file, environ={})
        plugins = load_plugins(plugins_dir=loaded.config.plugins_dir, disabled=loaded.config.disabled_plugins)
    except ConfigError as error:
        return [str(single) for single in each_error(error)]
    except KpidError as error:
        return [str(error)]
    findings = [finding for finding in check_config(loaded, plugins) if not finding.ok and not finding.warning]
    return [f"{finding.where}: {finding.text}. {finding.hint}" for finding in findings]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_wrong_configuration_is_refused_with_place_and_cure(file: Path) -> None:
    first = file.read_text(encoding="utf-8").partition("\n")[0]
    assert first.startswith(MARK)
    found = mistakes(file)
    assert len(found) == 1, found
    assert first.removeprefix(MARK) in found[0]


def test_there_are_enough_wrong_configurations() -> None:
    assert len(FILES) >= 36
