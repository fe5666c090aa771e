"""``kpid init``: a configuration that works, from any CRM and any receiver; asked for or by options; nothing is overwritten."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from kpid.commands.check import check_config
from kpid.config.load import load_config
from kpid.errors import ConfigError
from kpid.registry import load_plugins
from kpid.sample.packs import SAMPLE, Start, origin, packs, receivers, sources, write_start
from tests.journey.nursery import nursery


def _init(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if name != "KPID_CONFIG"}
    return nursery().run(["init", *arguments], folder, environ)


def test_choices_are_the_pieces_that_there_are():
    assert sources()[:2] == [SAMPLE, "files"]
    assert {"sql", "hubspot"} <= set(sources())
    assert receivers()[0] == "mailbox"
    assert {"email", "slack", "webhook"} <= set(receivers())
    assert packs()[:5] == ["sales", "pipeline", "activity", "support", "data"]
    assert set(packs()) == {file.stem for file in (origin() / "rules").glob("*.yml")}


@pytest.mark.parametrize("receiver", receivers())
@pytest.mark.parametrize("source", sources())
def test_every_source_with_every_receiver_gives_a_configuration_without_mistakes(tmp_path, source, receiver):
    start = Start(
        source=source, receiver=receiver, packs=tuple(packs()), company='A "quoted" \\ name: #1', timezone="Asia/Kathmandu"
    )
    written = write_start(tmp_path, start)
    loaded = load_config(tmp_path / "kpid.yml", environ=written.variables)
    findings = check_config(loaded, load_plugins())
    assert [one for one in findings if not one.ok and not one.warning] == []
    assert loaded.config.company == start.company
    assert str(loaded.config.timezone) == "Asia/Kathmandu"
    assert {file.stem for file in loaded.files} >= {"kpid", "weekly", *packs()}


def test_secrets_are_never_in_the_file(tmp_path):
    for receiver in receivers():
        for source in sources():
            written = write_start(tmp_path / source / receiver, Start(source=source, receiver=receiver))
            text = written.files[0].read_text(encoding="utf-8")
            assert all(value not in text and f"${{env:{name}}}" in text for name, value in written.variables.items())


def test_packs_come_with_their_tests_and_kpis(tmp_path):
    write_start(tmp_path, Start(packs=("data", "fifteen")))
    found = {str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*.yml")}
    assert found == {
        "kpid.yml", "rules/data.yml", "rules/tests/data.yml", "rules/fifteen.yml", "rules/tests/fifteen.yml", "kpis/fifteen.yml",
        "reports/weekly.yml",
    }  # fmt: skip


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "sales.yml").write_text("rules: []\n", encoding="utf-8")
    write_start(tmp_path, Start())
    assert (tmp_path / "rules" / "sales.yml").read_text(encoding="utf-8") == "rules: []\n"
    before = {file: file.read_bytes() for file in tmp_path.rglob("*.yml")}
    with pytest.raises(ConfigError, match="there is a configuration already"):
        write_start(tmp_path, Start(source="files"))
    assert {file: file.read_bytes() for file in tmp_path.rglob("*.yml")} == before


@pytest.mark.parametrize("start", [Start(source="nocrm"), Start(receiver="pigeon"), Start(packs=("sales", "magic"))])
def test_what_there_is_not_is_refused_with_what_there_is(tmp_path, start):
    with pytest.raises(ConfigError) as refused:
        write_start(tmp_path / "new", start)
    assert "There are" in (refused.value.hint or "")
    assert not (tmp_path / "new").exists()


def test_options_say_it_all(tmp_path):
    done = _init(
        tmp_path, "--out", "here", "--crm", "hubspot", "--receiver", "slack", "--pack", "sales,data", "--company", "Example Ltd",
        "--timezone", "America/New_York", "--currency", "USD",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "export HUBSPOT_TOKEN=" in done.stdout
    assert done.stdout.splitlines()[-2:] == ["  kpid check --connect", "  kpid run --once"]
    told = yaml.safe_load((tmp_path / "here" / "config" / "kpid.yml").read_text(encoding="utf-8"))
    assert (told["company"], told["timezone"], told["currency"]) == ("Example Ltd", "America/New_York", "USD")
    assert told["sources"]["crm"] == {"connector": "hubspot", "token": "${env:HUBSPOT_TOKEN}", "every": "15m"}
    assert told["include"][:2] == ["rules/sales.yml", "rules/data.yml"]


def test_without_a_terminal_every_question_needs_its_option(tmp_path):
    done = _init(tmp_path, "--crm", "files")
    assert done.returncode == 2
    assert "--receiver" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--timezone", "Berlin"), "Europe/Berlin"),
        (("--currency", "Euro"), "EUR"),
        (("--pack", "sale"), "sales"),
        (("--pack", ","), "sales"),
        (("--crm", "hubspot,sql"), "hubspot"),
        (("--receiver", "fax"), "mailbox"),
    ],
)
def test_a_wrong_answer_is_refused_and_nothing_is_written(tmp_path, arguments, word):
    done = _init(tmp_path, "--yes", *arguments)
    assert done.returncode == 2
    assert word in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_person_is_asked(tmp_path):
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "kpid", "init", "--company", "Example Ltd"], cwd=tmp_path, stdin=theirs, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    ) as process:  # fmt: skip
        os.close(theirs)
        os.write(ours, b"files\n\ndata\nEurope/Paris\n\n")
        said, _ = process.communicate(timeout=120)
        os.close(ours)
    assert process.returncode == 0, said
    assert "Where do the data come from? sample, files, hubspot, sql" in said
    told = yaml.safe_load((tmp_path / "config" / "kpid.yml").read_text(encoding="utf-8"))
    assert (told["timezone"], told["currency"], told["sources"]["crm"]["every"]) == ("Europe/Paris", "EUR", "1h")
    assert told["receivers"]["team"]["notifier"] == "mailbox"
    assert told["include"][0] == "rules/data.yml"


def test_an_existing_configuration_is_refused(tmp_path):
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "kpid.yml").write_text("timezone: UTC\n", encoding="utf-8")
    done = _init(tmp_path, "--yes")
    assert done.returncode == 78
    assert "there is a configuration already" in done.stderr
    assert [file.name for file in (tmp_path / "config").iterdir()] == ["kpid.yml"]
