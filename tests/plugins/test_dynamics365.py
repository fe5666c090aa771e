"""The connector to Dynamics 365, on a fake environment."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from kpid.plugin import AuthError, ConnectorError, SchemaError
from kpid.testing import ConnectorContract, MemorySync, Request, WalkContract, faults
from kpid.testing.bench import compare, connected, later, sync_into
from kpid.testing.crm_life import fill
from kpid.testing.dataverse import CLIENT_SECRET, TEAM
from kpid.testing.dataverse_tables import TABLES
from kpid.testing.expecting import compare_rows
from kpid.testing.vendor import Limit
from kpid.testing.walks import Walk
from tests.vendors.dynamics import DynamicsBench

SECOND = timedelta(seconds=1)


@pytest.fixture
def bench() -> Iterator[DynamicsBench]:
    with DynamicsBench() as bench:
        yield bench


class TestContract(ConnectorContract):
    """The contract of connectors, on tables whose changes are tracked."""

    @pytest.fixture
    def bench(self) -> Iterator[DynamicsBench]:
        with DynamicsBench() as bench:
            yield bench


class TestWalks(WalkContract):
    """Random walks, on tables whose changes are tracked."""

    @pytest.fixture
    def bench(self) -> Iterator[DynamicsBench]:
        with DynamicsBench() as bench:
            yield bench


class UntrackedBench(DynamicsBench):
    """The same, on tables whose changes nobody tracks: deletions are only found by comparing ids."""

    def __init__(self) -> None:
        super().__init__()
        self.api.untracked = {table.logical for table in TABLES.values()}


def synced(bench: DynamicsBench, **options) -> MemorySync:
    held = MemorySync()
    sync_into(bench, held, **options)
    return held


def lived(bench: DynamicsBench, deals: int = 150) -> DynamicsBench:
    """An environment with some life in it."""
    fill(bench.crm, deals)
    return bench


def compare_all(bench: DynamicsBench, held: MemorySync) -> None:
    for entity, truth in bench.truths().items():
        compare_rows(truth, held.live(entity), entity)


def asked_of(bench: DynamicsBench, name: str) -> list[Request]:
    return [request for request in bench.api.requests if request.path.endswith(f"/{name}")]


@pytest.mark.parametrize("at_end", [False, True])
def test_every_entity_is_read_and_kept_up_to_date(bench, at_end):
    bench.api.token_at_end = at_end
    held = synced(lived(bench))
    compare_all(bench, held)
    chance = random.Random(5)
    for _ in range(120):
        bench.disturb(chance)
        bench.clock.advance(SECOND * 7)
    later(bench)
    sync_into(bench, held)
    compare_all(bench, held)


def test_what_is_deleted_while_a_long_first_read_runs_is_told_whatever_its_link_stands_for(bench):
    first = bench.add(200)
    held, connector = MemorySync(), bench.connector()
    with connected(connector):
        until = connector.server_time()
        for number, page in enumerate(connector.pages("deals", None, until)):
            held._store("deals", page)
            if number == 2:
                bench.delete(first[0])
                bench.change(first[1])
    compare(bench, held)


def test_the_first_read_that_was_killed_goes_on_at_its_page(bench):
    bench.add(300)
    later(bench, 60)
    held = MemorySync()
    sync_into(bench, held, entity="deals", stop_after=3)
    assert len(held.rows["deals"]) == 180
    asked = len(asked_of(bench, "opportunities"))
    sync_into(bench, held, entity="deals")
    compare(bench, held)
    assert len(asked_of(bench, "opportunities")) - asked <= 5


def test_a_quiet_sync_asks_little(bench):
    held = synced(lived(bench))
    later(bench)
    asked = len(bench.api.requests)
    sync_into(bench, held)
    assert len(bench.api.requests) - asked <= bench.quiet_calls


def test_thousands_of_one_instant_are_read_by_time(tmp_path):
    with UntrackedBench() as bench:
        bench.add(3)
        held = synced(bench, page_size=2000)
        bench.crm.bulk("deals", 12_000)
        later(bench)
        sync_into(bench, held, page_size=2000)
        compare(bench, held)


def test_a_field_of_the_companys_own_is_read(bench):
    first = bench.add(3)
    options = bench.add_field("region", {first[0]: "Nord"})
    assert synced(bench, **options).live("deals")[first[0]]["region"] == "Nord"
    with connected(bench.misspell_field()) as connector:
        hints = [finding.hint for finding in connector.check() if not finding.ok]
    assert hints == ["Did you mean new_region?"]


def test_a_stage_that_was_renamed_is_named(bench):
    with connected(bench.rename_pipeline()) as connector:
        found = [finding for finding in connector.check() if not finding.ok]
    assert ("no stage Angebot" in found[0].text, "Neues Angebot" in found[0].hint) == (True, True)


def test_a_place_within_an_answer_that_is_forgotten_does_not_cost_the_link(bench):
    first = bench.add(200)
    held = synced(bench)
    for native_id in first:
        bench.change(native_id)
    bench.delete(first[0])
    later(bench)
    sync_into(bench, held, entity="deals", stop_after=2)
    kept = held.cursors["deals"]["kinds"]["opportunity"]
    assert "next" in kept
    held.cursors["deals"] = {"kinds": {"opportunity": {**kept, "next": kept["next"][:-4]}}}
    later(bench)
    asked = len(asked_of(bench, "opportunities"))
    sync_into(bench, held, entity="deals")
    compare(bench, held)
    assert not any("track-changes" in request.headers.get("Prefer", "") for request in asked_of(bench, "opportunities")[asked:])


def test_what_was_deleted_while_kpid_slept_longer_than_links_live_is_found(bench, tmp_path):
    first = bench.add(30)
    with Walk(bench, tmp_path, random.Random(0)) as walk:
        bench.entities = ("accounts", "deals")
        walk.sync_calmly()
        bench.clock.advance(timedelta(days=8))
        bench.delete(first[3])
        bench.change(first[4])
        walk.settle()
        compare_rows(bench.truth(), walk.living("deals"), "deals")
        walk.check_observed_history()


def test_a_column_added_to_the_settings_fills_old_rows_and_the_link_goes_on(bench, tmp_path):
    first = bench.add(70)
    options = bench.add_field("region", {first[0]: "Nord", first[69]: "Ost"})
    with Walk(bench, tmp_path, random.Random(0)) as walk:
        bench.entities = ("accounts", "deals")
        walk.sync_calmly()
        bench.more = options
        asked = len(asked_of(bench, "opportunities"))
        walk.settle()
        bench.change(first[69])
        walk.settle()
        regions = {row["native_id"]: row["region"] for row in walk.rows("deals", "native_id, region", "region IS NOT NULL")}
        compare_rows(bench.truth(), walk.living("deals"), "deals")
    assert regions == {first[0]: "Nord", first[69]: "Ost"}
    assert not any("track-changes" in request.headers.get("Prefer", "") for request in asked_of(bench, "opportunities")[asked:])


@pytest.mark.parametrize("tracked", [True, False])
def test_a_sync_killed_at_every_page_loses_nothing(tracked):
    with DynamicsBench() if tracked else UntrackedBench() as bench:
        first = bench.add(290)
        held = MemorySync()
        for _ in range(8):
            sync_into(bench, held, entity="deals", stop_after=1)
        sync_into(bench, held, entity="deals")
        compare(bench, held)
        for native_id in first[::2]:
            bench.change(native_id)
        if tracked:
            bench.delete(first[1])
        later(bench)
        for _ in range(6):
            sync_into(bench, held, entity="deals", stop_after=1)
        sync_into(bench, held, entity="deals")
        sync_into(bench, held, entity="deals")
        compare(bench, held)


def test_tables_without_tracking_are_read_by_time_and_ids(tmp_path):
    with UntrackedBench() as bench:
        held = synced(lived(bench))
        compare_all(bench, held)
        bench.delete(sorted(bench.truth())[4])
        bench.add(3)
        later(bench)
        sync_into(bench, held)
        assert len(held.live("deals")) == len(bench.truth()) + 1
        sync_into(bench, held, reconcile=True)
        compare_all(bench, held)


def test_a_user_who_sees_only_a_part_reads_by_time(bench):
    bench.api.narrow = {"opportunity"}
    bench.add(100)
    held = synced(bench)
    compare(bench, held)
    assert "course" in held.cursors["deals"]["kinds"]["opportunity"]


@pytest.mark.parametrize("status", [400, 404, 410])
def test_a_link_that_is_too_old_makes_all_be_read_again(bench, status):
    first = bench.add(100)
    held = synced(bench)
    bench.api.refuses_with = status
    bench.clock.advance(timedelta(days=8))
    bench.change(first[2])
    bench.delete(first[3])
    later(bench)
    sync_into(bench, held)
    sync_into(bench, held, reconcile=True)
    compare(bench, held)
    assert "delta" in held.cursors["deals"]["kinds"]["opportunity"]


def test_deletions_told_by_address_or_of_records_never_seen_are_understood(bench):
    bench.api.deleted_as_url = True
    first = bench.add(20)
    held = synced(bench)
    never_seen = bench.add(1)[0]
    bench.delete(never_seen)
    bench.delete(first[5])
    later(bench)
    sync_into(bench, held)
    compare(bench, held)


def test_a_merged_account_is_gone_and_names_the_winner(bench):
    winner, loser = (bench.crm.create("accounts", {"name": name}) for name in ("Example A", "Example B"))
    deal = bench.crm.add_deal(account_id=loser)
    held = synced(bench)
    bench.merge(winner, loser)
    later(bench)
    sync_into(bench, held)
    row = held.rows["accounts"][loser]
    assert (row["merged_into_id"], row["deleted_reason"]) == (winner, "merged")
    assert held.live("deals")[deal]["account_id"] == winner


def test_a_column_added_to_the_settings_is_read_for_what_changes_though_the_link_is_older(bench):
    deal = bench.add(5)[1]
    held = synced(bench)
    bench.change(deal)
    later(bench)
    sync_into(bench, held, fields={"deals": {"region": "salesstage", "reason": "statuscode"}})
    assert held.live("deals")[deal]["region"] == "Entwickeln"
    assert held.live("deals")[deal]["extra"] == {"reason": "In Bearbeitung"}
    compare(bench, held)


def test_a_column_that_is_gone_empties_what_it_fills_and_warns(bench):
    deal = bench.add(5)[1]
    held = synced(bench)
    bench.drop_field()
    bench.change(deal)
    later(bench)
    sync_into(bench, held)
    compare(bench, held)
    assert held.live("deals")[deal]["probability"] is None
    assert "no column closeprobability" in held.warnings[0]


def test_the_last_closing_counts_and_lapses_when_a_deal_is_opened_again(bench):
    deal = bench.add(1)[0]
    bench.crm.move(deal, "won")
    bench.clock.advance(timedelta(days=3))
    bench.crm.move(deal, "offer")
    held = synced(bench)
    assert held.live("deals")[deal]["closed_at"] is None
    bench.clock.advance(timedelta(days=3))
    bench.crm.move(deal, "lost")
    later(bench)
    sync_into(bench, held)
    row = held.live("deals")[deal]
    assert datetime.fromisoformat(row["closed_at"]) == bench.crm.kinds["deals"].true(deal).values["closed_at"]
    assert (row["stage_id"], row["loss_reason"]) == ("lost", "Preis")


def test_without_the_right_to_closings_the_day_stands_for_them(bench):
    deal = bench.add(1)[0]
    bench.crm.move(deal, "won")
    bench.api.forbidden = {"opportunitycloses"}
    held = synced(bench)
    closed = held.live("deals")[deal]["closed_at"]
    day = bench.crm.kinds["deals"].true(deal).values["closed_at"].astimezone(closed.tzinfo).date()
    assert (closed.date(), closed.hour) == (day, 0)
    assert any("opportunitycloses may not be read" in warning for warning in held.warnings)


def test_a_table_that_may_not_be_read_spares_the_others(bench):
    lived(bench, 20)
    bench.lose_scope("deals")
    with connected(bench.connector()) as connector, pytest.raises(SchemaError, match="may not read opportunities") as caught:
        list(connector.pages("deals", None, bench.clock.now()))
    assert "Read on the table of opportunities" in caught.value.hint
    held = synced(bench, entity="accounts")
    assert held.live("accounts")


def test_a_table_that_is_not_installed_is_said(bench):
    bench.api.absent = {"incidents"}
    with connected(bench.connector()) as connector:
        findings = [finding for finding in connector.check() if not finding.ok]
        with pytest.raises(SchemaError, match="no table incident"):
            list(connector.pages("tickets", None, bench.clock.now()))
    assert [finding.subject for finding in findings] == ["crm: tickets", "crm: survey_responses"]


def test_an_application_that_is_no_user_ends_the_source(bench):
    bench.api.fail(faults.status(403, {"error": {"code": "0x80072560", "message": "no member"}}), times=99, path="batch")
    with connected(bench.connector()) as connector, pytest.raises(AuthError, match="no user of the environment") as caught:
        connector.server_time()
    assert "Application users" in caught.value.hint


def test_an_expired_secret_says_what_to_make(bench):
    body = {"error": "invalid_client", "error_description": f"AADSTS7000222 {CLIENT_SECRET}", "error_codes": [7000222]}
    bench.api.fail(faults.status(401, body), path="token")
    with connected(bench.connector()) as connector, pytest.raises(AuthError, match="has expired") as caught:
        connector.server_time()
    assert "new client secret" in caught.value.hint


def test_a_token_that_expires_in_the_middle_is_renewed(bench):
    bench.add(300)
    bench.api.tokens.life_calls = 3
    compare(bench, synced(bench))
    assert bench.api.tokens.given > 2


def test_check_names_columns_stages_and_tables_without_tracking(bench):
    bench.api.untracked = {"lead"}
    with connected(bench.connector(fields={"deals": {"region": "salestage"}}, stages={"Angebotte": "won"})) as connector:
        found = {finding.text: finding.hint for finding in connector.check() if not finding.ok}
    assert found["the table opportunity has no column salestage"] == "Did you mean salesstage?"
    assert "Angebot" in found["Dynamics has no stage Angebotte"]
    assert "Track changes" in found["changes of the table lead are not tracked: deletions are only found by comparing ids"]


def test_a_stage_may_mean_something_else(bench):
    deal = bench.add(1)[0]
    bench.crm.move(deal, "talks")
    held = synced(bench, stages={"Verhandlung": "lost"})
    assert held.live("deals")[deal]["state"] == "lost"
    stages = {row["name"]: row["state"] for row in held.live("stages").values()}
    assert stages == {"Erstgespräch": "open", "Angebot": "open", "Verhandlung": "lost", "Won": "won", "Lost": "lost"}


@pytest.mark.parametrize("name", ["requests", "time", "concurrent"])
def test_every_limit_of_the_service_is_obeyed(name):
    with DynamicsBench() as bench:
        bench.api.limits = [Limit(4, 7.0, name, pause=7)]
        bench.add(50)
        compare(bench, synced(bench))
        assert bench.api.refused
        assert bench.api.calls_while_waiting == 0


def test_a_batch_is_asked_again_until_it_is_whole(bench):
    ids = bench.add(30)
    with connected(bench.connector()) as connector:
        for fault in (faults.half(), faults.html_ok(), faults.cut(), faults.status(503)):
            bench.api.fail(fault, path="batch")
            got = [row["native_id"] for page in connector.fetch("deals", [*ids, "no-such"]) for row in page.rows["deals"]]
            assert sorted(got) == sorted(ids)


def test_teams_own_records_and_users_may_be_services(bench):
    held = synced(lived(bench, 5))
    assert held.rows["users"][TEAM]["role"] == "team"
    assert held.rows["teams"][TEAM]["name"] == "Vertrieb Nord"


def test_a_next_link_to_the_same_page_is_refused(bench):
    bench.add(5)
    url = f"{bench.api.url}/api/data/v9.2/opportunities?x=1"
    bench.api.fail(faults.status(200, {"value": [], "@odata.nextLink": url}), times=9, path="/opportunities$")
    with connected(bench.connector()) as connector, pytest.raises(ConnectorError, match="same page"):
        list(connector.pages("deals", None, bench.clock.now()))


def test_a_next_link_to_another_host_is_refused(bench):
    bench.add(5)
    bench.api.fail(faults.status(200, {"value": [], "@odata.nextLink": "https://example.net/x"}), path="/opportunities$")
    with connected(bench.connector()) as connector, pytest.raises(ConnectorError, match="another host"):
        list(connector.pages("deals", None, bench.clock.now()))
