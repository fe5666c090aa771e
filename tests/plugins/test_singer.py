"""The singer connector with a tap that is a real program: what comes of records, of kills, of secrets."""

from __future__ import annotations

import fcntl
import json
import os
import random
import re
import tempfile
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from kpid_singer import SingerSettings
from kpid_singer.process import telling

from kpid.config.secrets import References, mask_of
from kpid.plugin import ConnectorError, SchemaError
from kpid.testing import MemorySync, Walk
from kpid.testing.bench import compare, connected, first_sync, later, sync_into
from kpid.testing.contract_core import CoreContract
from kpid.testing.contract_reading import ReadingContract
from kpid.testing.crm_life import fill
from kpid.testing.expecting import compare_rows
from kpid.testing.singer import TOKEN
from kpid.warehouse.duckdb import open_duckdb
from tests.vendors.singer import MAPPING, SingerBench


@pytest.fixture
def bench() -> Iterator[SingerBench]:
    with SingerBench("deals", "accounts") as bench:
        yield bench


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where taps get their files; nothing is left there after any test."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.glob("kpid-singer-*")) == []


class TestContract(ReadingContract, CoreContract):
    """What every connector keeps of records, and what its declarations are."""

    @pytest.fixture
    def bench(self) -> Iterator[SingerBench]:
        with SingerBench("deals") as bench:
            yield bench


class TestWholeTables(ReadingContract):
    """The same of a tap that knows no times of change."""

    @pytest.fixture
    def bench(self) -> Iterator[SingerBench]:
        with SingerBench("deals", tables=("opportunities",)) as bench:
            yield bench


def states(bench: SingerBench) -> list[object]:
    """The states with which the tap was started to read, in order."""
    return [start["state"] for start in bench.tap.starts()]


# -- records ------------------------------------------------------------------------------------------------------------------


def test_every_stream_fills_its_entity():
    with SingerBench() as bench:
        fill(bench.crm, 60)
        held = first_sync(bench)
        for entity, truth in bench.truths().items():
            compare_rows(truth, held.live(entity), entity)
        assert held.warnings == []
        assert {row["type"] for key, row in held.live("activities").items() if key.startswith("call-")} == {"call"}


def test_amounts_are_exact(bench):
    line = '{"type": "RECORD", "stream": "opportunities", "record": {"id": 7, "value": 0.1000000000000001}}'
    bench.tap.habits.lines = {"2": line}
    bench.add(1)
    held = first_sync(bench)
    assert str(held.rows["deals"]["7"]["amount"]) == "0.1000000000000001"


def test_a_deletion_told_by_its_key_alone_leaves_the_row_as_it_was(bench):
    first = bench.add(5)
    held = first_sync(bench)
    bench.delete(first[2])
    later(bench)
    sync_into(bench, held)
    compare(bench, held)
    row = held.rows["deals"][first[2]]
    assert row["name"] is not None
    assert row["deleted_at"] == bench.crm.gone("deals")[0].deleted_at
    bench.restore(first[2])
    later(bench)
    sync_into(bench, held)
    compare(bench, held)


def test_only_its_own_streams_and_fields_are_selected_for_an_entity(bench):
    bench.add(1)
    first_sync(bench)
    accounts, deals = (start["catalog"]["streams"] for start in bench.tap.starts())
    assert [entry["stream"] for entry in accounts] == ["companies"]
    (entry,) = deals
    chosen = {tuple(one["breadcrumb"]) for one in entry["metadata"] if one["metadata"].get("selected")}
    assert {(), ("properties", "title"), ("properties", "company"), ("properties", "id")} <= chosen
    assert len(bench.tap.starts(discover=True)) == 1


def test_a_tap_of_the_old_kind_gets_its_properties(bench):
    bench.tap.habits.old_fashioned = True
    bench.add(3)
    held = MemorySync()
    sync_into(bench, held, properties=True)
    compare(bench, held)


def test_a_stream_may_have_another_name_in_the_messages_than_in_the_catalog(bench):
    bench.tap.names["opportunities"] = "public.opportunity"
    bench.add(3)
    compare(bench, first_sync(bench))


def test_a_tap_without_a_catalog_tells_all_and_what_is_not_mapped_is_passed_over(bench):
    bench.add(3)
    held = MemorySync()
    sync_into(bench, held, catalog="none")
    compare(bench, held)
    assert bench.tap.starts(discover=True) == []


def test_a_catalog_from_a_file_is_used(bench):
    bench.add(3)
    bench.write_catalog()
    held = MemorySync()
    sync_into(bench, held, catalog=Path("catalog.json"))
    compare(bench, held)
    assert bench.tap.starts(discover=True) == []


def test_a_missing_field_empties_its_column_and_is_told(bench):
    bench.add(8)
    column = bench.drop_field()
    held = first_sync(bench)
    rows = held.live("deals")
    assert len(rows) == 8
    assert {row[column] for row in rows.values()} == {None}
    assert held.warnings == ["The tap's stream opportunities has no field value: what it fills stays empty"]


def test_a_replaced_stream_is_told_unless_it_is_read_whole(bench):
    bench.tap.habits.state_every = 1
    bench.add(3)
    held = MemorySync()
    version = '{"type": "ACTIVATE_VERSION", "stream": "opportunities", "version": %d}'
    for number in (1, 1, 2):
        bench.tap.habits.lines = {"3": version % number}
        later(bench)
        sync_into(bench, held, entity="deals")
        assert bool(held.warnings) == (number == 2)
    assert "kpid sync --full" in held.warnings[0]


# -- kills --------------------------------------------------------------------------------------------------------------------


def test_a_read_killed_at_every_page_goes_on_at_the_state_that_was_stored(bench):
    bench.tap.habits.state_every = 20
    bench.add(330)
    pages = first_sync(bench).pages
    assert pages > 6
    for stop in range(1, pages):
        held = MemorySync()
        sync_into(bench, held, stop_after=stop)
        kept = (held.cursors.get("deals") or {}).get("state", {})
        sync_into(bench, held)
        assert states(bench)[-1] == kept
        compare(bench, held)


@pytest.mark.parametrize("state_every", [1, 4, 1000])
def test_a_tap_killed_at_any_line_goes_on_at_its_last_state(bench, state_every):
    bench.tap.habits.state_every = state_every
    bench.write_catalog()
    added = bench.add(10)
    for line in range(1, 13):
        held = MemorySync()
        bench.tap.habits.dies_after = line
        with pytest.raises(ConnectorError, match="killed by SIGKILL"):
            sync_into(bench, held, entity="deals")
        said = [text for text in _lines(state_every)[:line] if text.startswith("S")]
        bench.tap.habits.dies_after = None
        sync_into(bench, held, entity="deals")
        told = states(bench)[-1].get("bookmarks", {}).get("opportunities", {}).get("modified")
        last = bench.crm.kinds["deals"].true(added[int(said[-1][1:]) - 1]).modified if said else None
        assert told == (last.strftime("%Y-%m-%dT%H:%M:%S.%fZ") if last else None)
        compare(bench, held)


def _lines(state_every: int) -> list[str]:
    """What the tap says of ten records: the schema, records, and states with the number of the record before."""
    lines = ["schema"]
    for number in range(1, 11):
        lines += [f"record {number}", *([f"S{number}"] if number % state_every == 0 else [])]
    return [*lines, "S10"]


def test_what_a_tap_says_before_it_fails_is_not_lost(bench):
    bench.tap.habits.state_every = 5
    bench.tap.habits.fails_after = 30
    bench.add(60)
    held = MemorySync()
    with pytest.raises(ConnectorError, match=r"exit code 1; it said: .*the server went away") as caught:
        sync_into(bench, held, entity="deals")
    assert caught.value.transient
    assert len(held.live("deals")) == 25  # line 1 is the schema, every sixth a state
    assert held.cursors["deals"]["state"]["bookmarks"]["opportunities"]


def test_a_state_is_never_ahead_of_the_records_that_are_stored(bench):
    bench.tap.habits.state_every = 1
    bench.add(120)
    with connected(bench.connector(page_rows=7)) as connector:
        met = 0
        for page in connector.pages("deals", None, bench.clock.now()):
            met += len(page.rows.get("deals", ()))
            told = page.cursor["state"]["bookmarks"]["opportunities"]["modified"]
            behind = [key for key, row in bench.truth().items() if row["updated_at"].strftime("%Y-%m-%dT%H:%M:%S.%fZ") <= told]
            assert len(behind) <= met


def test_a_whole_table_is_never_read_from_a_state():
    with SingerBench("deals", tables=("opportunities",)) as bench:
        bench.add(30)
        held = first_sync(bench)
        later(bench)
        sync_into(bench, held)
        assert states(bench) == [{}, {}]
        compare(bench, held)


# -- the process ----------------------------------------------------------------------------------------------------------------


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_tap_has_a_process_group_and_an_environment_of_its_own(bench, monkeypatch):
    monkeypatch.setenv("KPID_SECRET_OF_OURS", "not-for-taps")
    monkeypatch.setenv("TAP_REGION", "north")
    bench.add(1)
    held = MemorySync()
    sync_into(bench, held, env=["TAP_REGION"])
    for start in (*bench.tap.starts(), *bench.tap.starts(discover=True)):
        assert start["group"] == start["pid"] != os.getpgrp()
        assert set(start["environment"]) <= {"PATH", "HOME", "LANG", "TZ", "TAP_REGION", "LC_CTYPE"}
        assert start["environment"]["TAP_REGION"] == "north"


def test_a_tap_in_a_virtual_environment_is_found_there(bench):
    programs = bench.folder / "venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "tap-of-ours").symlink_to(bench.tap.file)
    bench.add(2)
    held = MemorySync()
    sync_into(bench, held, command="tap-of-ours", venv=bench.folder / "venv")
    compare(bench, held)
    assert bench.tap.starts()[0]["environment"]["VIRTUAL_ENV"] == str(bench.folder / "venv")


def test_a_read_that_is_given_up_ends_the_tap(bench):
    bench.tap.habits.hangs_after = 200
    bench.add(300)
    with connected(bench.connector(page_rows=10)) as connector:
        pages = connector.pages("deals", None, bench.clock.now())
        next(pages)
        (start,) = bench.tap.starts()
        assert is_alive(start["pid"])
        pages.close()
        assert not is_alive(start["pid"])


def test_closing_the_connector_ends_the_tap(bench, temporary):
    bench.add(300)
    connector = bench.connector(page_rows=10)
    pages = connector.pages("deals", None, bench.clock.now())
    next(pages)
    (start,) = bench.tap.starts()
    connector.close()
    assert not is_alive(start["pid"])
    pages.close()


def test_a_silent_tap_is_stopped(bench):
    bench.tap.habits.hangs_after = 3
    bench.add(9)
    with pytest.raises(ConnectorError, match="said nothing for") as caught:
        sync_into(bench, MemorySync(), entity="deals", idle_timeout=timedelta(seconds=0.3))
    assert caught.value.transient
    assert not any(is_alive(start["pid"]) for start in bench.tap.starts())  # a slow machine stops it before it has said so


def test_a_tap_that_takes_too_long_is_stopped(bench):
    bench.add(300)
    with connected(bench.connector(page_rows=10, timeout="10m")) as connector:
        pages = connector.pages("deals", None, bench.clock.now())
        next(pages)
        bench.clock.advance(timedelta(minutes=11))
        with pytest.raises(ConnectorError, match="longer than 600 s"):
            list(pages)


def test_a_process_that_the_tap_leaves_behind_is_ended_and_not_waited_for(bench):
    bench.tap.habits.leaves_a_child = True
    bench.add(9)
    held = first_sync(bench)
    compare(bench, held)
    for start in (*bench.tap.starts(), *bench.tap.starts(discover=True)):
        with (bench.tap.folder / f"child-{start['pid']}.lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # waits for the end of the child, which would never come


def test_much_noise_on_standard_error_stops_nobody(bench):
    bench.tap.habits.noise = 20_000
    bench.add(9)
    compare(bench, first_sync(bench))


def test_of_a_traceback_the_error_alone_is_told(bench):
    frames = ['  File "tap.py", line 7, in main', "    run()", "    ^^^^^"]
    said = ["INFO begins", "Traceback (most recent call last):", *frames, "", "ValueError: no"]
    assert telling(said) == ["INFO begins", "ValueError: no"]
    assert telling(["one", "  two", ""]) == ["one", "  two"]


def test_a_program_that_is_not_there_is_told(bench):
    for command in ("tap-nobody-has", "./tap-nobody-has"):
        with pytest.raises(SchemaError, match=f"there is no program '{command}'") as caught:
            sync_into(bench, MemorySync(), command=command)
        assert "venv" in str(caught.value.hint)


# -- bad output -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "error", "said"),
    [
        ('{"type": "RECORD", "stream": "opportunities", "record": {"id": ', ConnectorError, "no whole JSON message"),
        ("Traceback (most recent call last):", ConnectorError, "no whole JSON message"),
        ("[1, 2]", ConnectorError, "no message of the Singer protocol"),
        ('{"stream": "opportunities"}', ConnectorError, "no message of the Singer protocol"),
        ('{"type": "RECORD", "stream": "opportunities"}', ConnectorError, "a RECORD lacks its `record`"),
        ('{"type": "RECORD", "stream": "opportunities", "record": [1]}', ConnectorError, "is no object"),
        ('{"type": "BATCH", "stream": "opportunities", "manifest": []}', SchemaError, "BATCH"),
        ("x" * (17 * 1024 * 1024), SchemaError, "longer than 16 MB"),
    ],
    ids=["cut", "text", "list", "untyped", "no record", "odd record", "batch", "endless"],
)  # fmt: skip
def test_a_line_that_is_no_message_is_an_error_and_nothing_is_lost(bench, line, error, said):
    bench.tap.habits.lines = {"5": line}
    bench.add(9)
    held = MemorySync()
    with pytest.raises(error, match=said):
        sync_into(bench, held, entity="deals")
    bench.tap.habits.lines = {}
    sync_into(bench, held)
    compare(bench, held)


def test_messages_of_an_unknown_kind_are_told(bench):
    bench.tap.habits.lines = {"3": '{"type": "HEARTBEAT"}'}
    bench.add(1)
    assert first_sync(bench).warnings == ["The tap says things of the kind HEARTBEAT, which are passed over"]


def test_a_stream_that_never_comes_is_an_error(bench):
    bench.add(2)
    mapping = {"oportunities": MAPPING["opportunities"]}
    with pytest.raises(SchemaError, match="no stream 'oportunities'") as caught:
        sync_into(bench, MemorySync(), streams=mapping)
    assert "Did you mean 'opportunities'" in str(caught.value.hint)
    with pytest.raises(SchemaError, match="says nothing of a stream 'oportunities'") as caught:
        sync_into(bench, MemorySync(), streams=mapping, catalog="none")
    assert "opportunities" in str(caught.value.hint)


# -- the real sync --------------------------------------------------------------------------------------------------------------


def test_a_field_mapped_later_is_filled_for_old_rows_and_the_state_goes_on(tmp_path):
    with SingerBench("deals") as bench, Walk(bench, tmp_path, random.Random(1)) as walk:
        bench.mapping = without(MAPPING, "amount")
        bench.add(12)
        walk.sync_calmly()
        assert {row["amount"] for row in walk.rows("deals")} == {None}
        before = len(bench.tap.starts())
        bench.mapping = without(MAPPING)
        bench.tells_all = False  # nobody changes anything, and nothing more is read: starts are counted
        walk.settle()
        assert {key: row["amount"] for key, row in walk.living("deals").items()} == {
            key: row["amount"] for key, row in bench.truth().items()
        }
        main, aside, quiet = states(bench)[before:]
        assert main == quiet != {} == aside


def test_what_a_tap_never_told_is_found_by_a_full_read(tmp_path):
    with SingerBench("deals") as bench, Walk(bench, tmp_path, random.Random(1)) as walk:
        bench.mapping = without(MAPPING)
        added = bench.add(12)
        walk.sync_calmly()
        bench.crm.purge("deals", added[3])
        walk.sync_calmly()
        assert len(walk.living("deals")) == len(bench.truth()) + 1
        assert walk.sync(lambda: None, full=True).ok
        walk.compare()


def test_a_tap_that_fails_leaves_what_others_read_alone_and_tells_no_secret(tmp_path):
    with SingerBench("deals", "accounts") as bench, Walk(bench, tmp_path, random.Random(1)) as walk:
        bench.add(50)
        bench.tap.habits.lines = {"45": f"the token is {TOKEN}"}
        result = walk.sync(lambda: None)
        assert {one.entity: one.state for one in result.entities} == {"accounts": "done", "deals": "failed"}
        assert "no whole JSON message" in str(result)
        walk.warehouse.close()
        ours = [file for file in tmp_path.rglob("*") if file.is_file() and not file.is_relative_to(bench.folder)]
        assert {"kpid.db", "0.duckdb"} <= {file.name for file in ours}
        for file in ours:
            assert not any(secret.encode() in file.read_bytes() for secret in bench.secrets), file
        walk.warehouse = open_duckdb(tmp_path / "0.duckdb")


def without(mapping: Mapping[str, Any], *columns: str) -> dict[str, Any]:
    """The mapping of deals alone, less some columns."""
    (name,) = [name for name, stream in mapping.items() if stream["entity"] == "deals"]
    kept = {column: value for column, value in mapping[name]["columns"].items() if column not in columns}
    return {name: {**mapping[name], "columns": kept}}


# -- secrets --------------------------------------------------------------------------------------------------------------------


def test_the_configuration_is_readable_for_us_alone_and_gone_afterwards(bench, temporary):
    bench.add(1)
    first_sync(bench)
    for start in bench.tap.starts():
        assert start["mode"] == 0o600
        file = Path(start["config_file"])
        assert file.is_relative_to(temporary)
        assert not file.exists()
        assert start["config"]["api_token"] == TOKEN


def test_what_a_killed_process_left_behind_is_removed_by_the_next_one(bench, temporary):
    left = temporary / "kpid-singer-left"
    left.mkdir()
    (left / ".lock").touch()
    (left / "config.json").write_text(TOKEN)
    bench.add(1)
    first_sync(bench)
    assert not left.exists()


def test_what_another_process_uses_is_left_alone(bench):
    bench.add(90)
    with connected(bench.connector(page_rows=10)) as connector, connected(bench.connector()) as other:
        pages = connector.pages("deals", None, bench.clock.now())
        next(pages)
        file = Path(bench.tap.starts()[-1]["config_file"])
        assert other.check()[0].ok
        assert file.exists()
        list(pages)
        assert not file.exists()


def test_refused_credentials_are_not_tried_for_each_entity(bench):
    bench.revoke()
    with connected(bench.connector()) as connector:
        for entity in ("accounts", "deals"):
            with pytest.raises(ConnectorError, match="exit code 1"):
                list(connector.pages(entity, None, bench.clock.now()))
    assert len(bench.tap.starts(discover=True)) == 1


@pytest.mark.parametrize("trouble", ["refused", "killed", "garbage", "no catalog"])
def test_no_error_tells_a_secret(bench, trouble):
    bench.tap.habits.noise = 40
    bench.add(30)
    match trouble:
        case "refused":
            bench.revoke()
        case "killed":
            bench.tap.habits.dies_after = 4
        case "garbage":
            bench.tap.habits.lines = {"2": f"token {TOKEN}"}
    options = {"command": ["/bin/cat", TOKEN]} if trouble == "no catalog" else {}
    with pytest.raises(ConnectorError) as caught:
        sync_into(bench, MemorySync(), **options)
    seen: BaseException | None = caught.value
    while seen is not None:
        told = f"{seen!s} {seen!r} {vars(seen)}"
        assert not any(secret in told for secret in bench.secrets)
        seen = seen.__cause__ or seen.__context__
    with connected(bench.connector(**options)) as connector:
        assert not any(secret in str(connector.check()) for secret in bench.secrets)


def test_a_variable_that_a_tap_is_given_is_a_secret(bench, monkeypatch):
    monkeypatch.setenv("TAP_PASSWORD", "hushhush-17")
    bench.add(1)
    with pytest.raises(ConnectorError) as caught:
        sync_into(bench, MemorySync(), env=["TAP_PASSWORD"], command=["/bin/sh", "-c", "echo no $TAP_PASSWORD >&2; exit 3"])
    assert "exit code 3; it said: no ***" in str(caught.value)


def test_texts_of_the_configuration_that_may_be_secrets_are_hidden():
    config = {
        "password": "short", "start_date": "2024-01-01T00:00:00Z", "domain": "https://crm.example.com", "region": "eu-west",
        "id": "a8f3-11", "nested": {"list": ["x8f3-12", "word"], "api_key": "plain"}, "pages": 7,
    }  # fmt: skip
    settings = SingerSettings(command="tap", config=config, streams={"a": {"entity": "deals"}})
    assert settings.plain_config() == config
    assert settings.secrets() == {"short", "a8f3-11", "x8f3-12", "plain"}
    assert mask_of(settings)("short a8f3-11 eu-west") == "*** *** eu-west"
    assert "a8f3-11" not in repr(settings)


def test_a_token_that_the_tap_renews_in_its_configuration_is_kept(bench):
    bench.tap.habits.rotates = True
    bench.add(1)
    config = {"api_token": TOKEN, "refresh_token": "refresh-1"}
    held = MemorySync()
    sync_into(bench, held, config=config)
    sync_into(bench, held, config=config)
    told = [len(start["config"]["refresh_token"]) - len("refresh-1") for start in bench.tap.starts()]
    assert told == [1, 2, 4, 5]  # the catalog is asked for in between
    sync_into(bench, held, config={**config, "refresh_token": "refresh-9"})
    assert bench.tap.starts()[-1]["config"]["refresh_token"].startswith("refresh-9")


# -- documents --------------------------------------------------------------------------------------------------------------


def test_the_example_of_the_readme_works(bench, monkeypatch):
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    source, mapping = re.findall(r"```yaml\n(.*?)```", readme.partition("**Singer**")[2].partition("\n**")[0], flags=re.DOTALL)[
        :2
    ]
    (bench.folder / "crm-streams.yml").write_text(mapping)
    options = yaml.load(source, yaml.BaseLoader)["sources"]["crm"]
    assert options.pop("connector") == "singer"
    monkeypatch.setenv("EXAMPLE_TOKEN", TOKEN)
    config, _ = References(os.environ, bench.folder).resolve(options["config"]["api_token"], "README")
    options = {**options, "config": {**options["config"], "api_token": config}, "command": str(bench.tap.file), "venv": None}
    del options["every"]
    fill(bench.crm, 20)
    held = MemorySync()
    sync_into(bench, held, **{**options, "streams": Path(options["streams"])})
    assert held.warnings == []
    for entity in ("users", "deals", "activities"):
        truth = {key: {"updated_at": row["updated_at"]} for key, row in bench.truths_of(entity).items() if "updated_at" in row}
        assert held.live(entity).keys() == bench.truths_of(entity).keys(), entity
        compare_rows(truth, {key: held.live(entity)[key] for key in truth}, entity)
    assert {row["state"] for row in held.live("deals").values()} <= {"open", "won", "lost"}


# -- settings -------------------------------------------------------------------------------------------------------------------


def test_the_mapping_may_stand_in_a_file(bench):
    bench.add(3)
    (bench.folder / "mapping.yml").write_text(
        "opportunities:\n  entity: deals\n  columns:\n    name: title\n    state: {column: ok, values: {true: won, 7: lost}}\n"
    )
    held = MemorySync()
    sync_into(bench, held, streams=Path("mapping.yml"))
    assert len(held.live("deals")) == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "cannot be read: No such file"),
        ("a: {entity: dels}", "a.entity: .*no such entity"),
        ("a: {entity: deals, colums: {}}", "a.colums"),
        ("a: [", "no mapping of streams"),
        ("{}", "name at least one stream"),
        ("a: {entity: deals}\nb: {entity: deals}", "prefix"),
        ("a: {entity: deals}\nb: {entity: deals, prefix: b-, full: true}", "must all be `full: true`"),
        ("opportunities: {entity: deals, columns: {nam: title}}", "deals has no column 'nam'"),
    ],
)
def test_a_wrong_mapping_is_told(bench, text, said):
    if text is not None:
        (bench.folder / "mapping.yml").write_text(text)
    with pytest.raises(SchemaError, match=said):
        sync_into(bench, MemorySync(), streams=Path("mapping.yml"))


def test_declarations_start_no_tap(bench):
    with connected(bench.connector()) as connector:
        reads = {one.entity: one for one in connector.reads()}
        assert list(reads) == ["accounts", "deals"]
        assert (reads["deals"].mode, reads["deals"].deletes, reads["deals"].history) == ("incremental", "inline", "since_sync")
        assert "opportunities.company.id" in connector.asks("deals")
        assert connector.fills()["accounts"] == {"native_id", "name", "domain", "owner_id", "created_at", "updated_at"}
        connector.capabilities()
        assert connector.since("deals", bench.clock.now()) is None
    assert bench.tap.starts() == bench.tap.starts(discover=True) == []


def test_several_keys_make_one_id(bench):
    bench.tap.habits.lines = {
        "2": json.dumps({"type": "RECORD", "stream": "opportunities", "record": {"id": 7.0, "title": "a/b", "seller": 8.0}}),
        "3": json.dumps({"type": "RECORD", "stream": "opportunities", "record": {"id": None, "title": "c"}}),
    }
    bench.add(2)
    mapping = {"opportunities": {**MAPPING["opportunities"], "id": ["id", "title"]}}
    with connected(bench.connector(streams=mapping)) as connector:
        rows = [row for page in connector.pages("deals", None, bench.clock.now()) for row in page.rows.get("deals", ())]
    assert [row["native_id"] for row in rows] == ["7/a%2Fb", None]
    assert rows[0]["owner_id"] == "8"


# -- check ----------------------------------------------------------------------------------------------------------------------


def test_check_asks_for_the_catalog_and_compares(bench):
    with connected(bench.connector()) as connector:
        assert all(finding.ok for finding in connector.check())
    mapping = {
        "opportunities": {"entity": "deals", "columns": {"name": "titel"}},
        "company": {"entity": "accounts"},
        "people": {"entity": "users", "id": "mial"},
    }
    with connected(bench.connector(streams=mapping)) as connector:
        findings = connector.check()
    assert [(finding.subject, finding.ok) for finding in findings] == [
        ("crm/deals", False), ("crm/accounts", False), ("crm/users", False),
    ]  # fmt: skip
    assert "'titel'" in findings[0].text
    assert "Did you mean 'title'" in findings[0].hint
    assert "Did you mean 'companies'" in findings[1].hint
    assert "Did you mean 'mail'" in findings[2].hint
    assert bench.tap.starts() == []


def test_check_of_a_tap_that_fails_says_how_to_try_it_by_hand(bench):
    bench.revoke()
    with connected(bench.connector()) as connector:
        (finding,) = connector.check()
    assert not finding.ok
    assert "exit code 1" in finding.text
    assert "401 Client Error" in finding.text
    assert f"{bench.tap.file} --config config.json --discover" in finding.hint


def test_check_of_a_tap_without_a_catalog_looks_for_the_program(bench):
    with connected(bench.connector(catalog="none")) as connector:
        assert connector.check()[0].ok
    with connected(bench.connector(catalog="none", command="tap-nobody-has")) as connector:
        assert not connector.check()[0].ok
