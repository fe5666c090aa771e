"""The Divalto weavy connector against a server that behaves like weavy."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from kpid.plugin import AuthError, SchemaError
from kpid.testing import ConnectorContract, MemorySync, faults
from kpid.testing.bench import compare, connected, first_sync, later, sync_into
from kpid.testing.crm_life import fill
from kpid.testing.walks import walk_to_the_end
from kpid.testing.weavy import PASSWORD
from tests.vendors.weavy import WeavyBench


@pytest.fixture
def bench() -> Iterator[WeavyBench]:
    with WeavyBench() as bench:
        yield bench


class TestContract(ConnectorContract):
    @pytest.fixture(params=["array", "rows"])
    def bench(self, request: pytest.FixtureRequest) -> Iterator[WeavyBench]:
        with WeavyBench() as bench:
            bench.weavy.shape = request.param
            yield bench


@pytest.mark.parametrize("seed", range(2))
def test_the_tables_follow_a_project_that_is_read_by_offset(bench, tmp_path, seed):
    bench.chosen = {"paging": "offset", "page_size": 20}
    bench.weavy.ignores_order = True
    walk_to_the_end(bench, tmp_path, random.Random(seed))


def questions(bench, **wanted):
    """What was asked of Select."""
    asked = [request.json() for request in bench.api.requests if request.path.endswith("/Select")]
    return [question for question in asked if all(question.get(name) == value for name, value in wanted.items())]


# -- nothing is lost ---------------------------------------------------------------------------------------------------------


def test_a_whole_project_is_read(bench):
    fill(bench.crm, 120)
    held = first_sync(bench)
    for entity, kind in {"users": "users", "accounts": "accounts", "contacts": "contacts", "deals": "deals"}.items():
        assert held.live(entity).keys() == bench.crm.living(kind).keys()
    assert {row["name"] for row in held.live("pipelines").values()} == {"Affaires", "Services"}
    assert len(held.live("stages")) == 5
    assert not held.warnings


@pytest.mark.parametrize("paging", ["key", "offset"])
def test_a_sync_killed_at_every_page_loses_nothing(bench, paging):
    options = {"paging": paging, "page_size": 20}
    ids = bench.add(45)
    whole = MemorySync()
    sync_into(bench, whole, **options)
    for pages in range(1, whole.pages + 6):
        held = MemorySync()
        sync_into(bench, held, stop_after=pages, **options)
        later(bench)
        bench.change(ids[pages])
        bench.delete(ids[-pages])
        bench.add(1)
        sync_into(bench, held, stop_after=pages, **options)
        sync_into(bench, held, **options)
        sync_into(bench, held, **options)
        compare(bench, held)


def test_twelve_thousand_deals_of_one_instant_are_all_found(bench):
    bench.add(3)
    held = first_sync(bench)
    bench.add(12_000, same_instant=True)
    later(bench)
    sync_into(bench, held)
    compare(bench, held)


def test_rows_that_go_while_offsets_are_read_hide_no_others(bench):
    ids = bench.add(120)
    with connected(bench.connector(paging="offset", page_size=20)) as connector:
        met = set()
        for number, page in enumerate(connector.pages("deals", None, bench.clock.now())):
            met |= {row["native_id"] for row in page.rows["deals"]}
            if number in {1, 3}:
                for gone in ids[number * 9 : number * 9 + 35]:
                    if gone in bench.truth():
                        bench.delete(gone)
    assert bench.truth().keys() <= met


def test_offsets_end_in_a_table_that_was_emptied_meanwhile(bench):
    ids = bench.add(60)
    with connected(bench.connector(paging="offset", page_size=20)) as connector:
        pages = connector.pages("deals", None, bench.clock.now())
        next(pages)
        for native_id in ids:
            bench.delete(native_id)
        assert all(not page.rows["deals"] for page in pages)


def test_a_server_with_smaller_pages_than_asked_for_hides_nothing(bench):
    bench.weavy.cap = 30
    bench.add(100)
    compare(bench, first_sync(bench))


def test_a_server_that_does_not_compare_codes_is_told_of(bench):
    bench.weavy.ignores_order = True
    bench.add(3)
    with pytest.raises(SchemaError, match="stand still") as caught:
        first_sync(bench)
    assert "paging: offset" in caught.value.hint


@pytest.mark.parametrize("zone", ["Pacific/Auckland", "America/Los_Angeles", "Europe/Paris"])
def test_changes_are_found_whatever_the_zone_of_srvdate(bench, zone):
    bench.weavy.zone = ZoneInfo(zone)
    first = bench.add(5)
    held = first_sync(bench)
    for hours in (1, 5, 30):
        bench.change(first[hours % 5])
        bench.delete(first[(hours + 1) % 5])
        bench.crm.restore("deals", first[(hours + 1) % 5])
        bench.add(1)
        sync_into(bench, held)
        compare(bench, held)
        later(bench, hours * 60)
    later(bench, 3 * 24 * 60)
    bench.delete(first[0])
    later(bench, 1)
    sync_into(bench, held)
    compare(bench, held)


def test_a_quiet_sync_costs_few_requests(bench):
    fill(bench.crm, 40)
    held = first_sync(bench)
    later(bench, 3 * 24 * 60)
    before = len(bench.api.requests)
    sync_into(bench, held)
    assert len(bench.api.requests) - before <= bench.quiet_calls


# -- what is gone ------------------------------------------------------------------------------------------------------------


def test_deleted_rows_are_hidden_and_asked_for(bench):
    ids = bench.add(4)
    held = first_sync(bench)
    bench.delete(ids[1])
    later(bench)
    sync_into(bench, held)
    assert held.rows["deals"][ids[1]]["deleted_reason"] == "deleted"
    assert {question["srvAttrib"] for question in questions(bench) if "srvAttrib" in question} == {1}
    bench.crm.restore("deals", ids[1])
    later(bench)
    sync_into(bench, held)
    compare(bench, held)


def test_another_mark_of_deleted_rows_is_a_setting(bench):
    bench.weavy.deleted_attrib = 2
    ids = bench.add(4)
    held = first_sync(bench)
    bench.delete(ids[1])
    later(bench)
    sync_into(bench, held)
    assert ids[1] in held.live("deals")
    sync_into(bench, held, deleted_attrib=2)
    compare(bench, held)


def test_a_deletion_that_moves_no_time_is_found_by_comparing_ids(bench):
    ids = bench.add(4)
    held = first_sync(bench)
    for _ in range(2):
        later(bench, 3 * 24 * 60)
        sync_into(bench, held)
    bench.crm.delete("deals", ids[2], touch=False)
    sync_into(bench, held)
    assert ids[2] in held.live("deals")
    sync_into(bench, held, reconcile=True)
    compare(bench, held)


def test_rows_that_live_are_not_buried_by_a_server_that_ignores_the_mark(bench):
    ids = bench.add(3)
    held = first_sync(bench)
    bench.weavy.deleted_attrib = 0  # the fake then gives living rows to the question for deleted ones
    sync_into(bench, held, deleted_attrib=0)
    assert held.live("deals").keys() == set(ids)


# -- who may read what -------------------------------------------------------------------------------------------------------


def test_a_token_of_twelve_hours_is_renewed_before_it_ends(bench):
    bench.add(3)
    with connected(bench.connector()) as connector:
        list(connector.pages("deals", None, bench.clock.now()))
        bench.clock.advance(timedelta(hours=11, minutes=56))
        list(connector.pages("deals", None, bench.clock.now()))
    assert bench.weavy.tokens.given == 2


def test_a_token_that_is_refused_is_renewed_once(bench):
    bench.add(60)
    bench.weavy.tokens.life_calls = 4
    compare(bench, first_sync(bench))
    assert bench.weavy.tokens.given > 3


def test_a_wrong_password_is_named_without_telling_it(bench):
    with (
        pytest.raises(AuthError, match=r"kpid@example\.com to the project example") as caught,
        connected(bench.connector(password="another-password-fake")) as connector,
    ):
        connector.server_time()
    assert "password" in caught.value.hint
    assert "another-password-fake" not in f"{caught.value}{caught.value.__cause__!r}"
    assert len(bench.api.requests) == 1


def test_a_login_without_a_token_is_an_error(bench):
    bench.api.fail(faults.status(200, {"authToken": None}), times=5, path="Authenticate")
    with pytest.raises(AuthError, match="no token"):
        first_sync(bench)


def test_a_password_that_expires_soon_is_told(bench):
    bench.weavy.password_expires = bench.clock.now() + timedelta(days=9)
    with connected(bench.connector()) as connector:
        (told,) = [finding for finding in connector.check() if not finding.ok]
    assert told.warning
    assert "2026-11-29" in told.text


def test_a_table_that_may_not_be_read_is_named_and_others_are_read(bench):
    bench.add(3)
    bench.lose_scope("contacts")
    held = MemorySync()
    with pytest.raises(SchemaError, match="may not read the table customercontact") as caught:
        sync_into(bench, held, entity="contacts")
    assert "right" in caught.value.hint
    sync_into(bench, held, entity="deals")
    compare(bench, held)
    with connected(bench.connector()) as connector:
        assert [(finding.subject, finding.ok) for finding in connector.check() if not finding.ok] == [("crm: contacts", False)]
    with connected(bench.connector(entities=["contacts", "deals"])) as connector:
        assert connector.server_time() == bench.clock.now()


def test_a_table_that_is_not_there_is_named_with_a_near_one(bench):
    with connected(bench.connector(tables={"deals": "deals"})) as connector:
        (told,) = [finding for finding in connector.check() if not finding.ok]
    assert "has no table deals" in told.text
    assert "perhaps deal" in told.hint


def test_a_misspelt_field_is_named_with_a_near_one(bench):
    bench.add(2)
    with connected(bench.misspell_field()) as connector:
        (told,) = [finding for finding in connector.check() if not finding.ok]
        warnings = [page.warnings for page in connector.pages("deals", None, bench.clock.now())]
    assert (told.warning, "ammount" in told.text, "perhaps amount" in told.hint) == (True, True, True)
    assert "ammount" in warnings[0][0]


def test_without_pick_lists_codes_stand_for_themselves(bench):
    bench.crm.move(bench.add(1)[0], "lost")
    bench.api.forbidden.add("generictype")
    held = first_sync(bench)
    (deal,) = held.live("deals").values()
    assert (deal["state"], deal["loss_reason"]) == ("lost", "PRICE")
    assert any("codes are shown" in warning for warning in held.warnings)


def test_an_answer_without_rows_is_told_of(bench):
    bench.api.fail(faults.status(200, {"total": 3, "message": "later"}), times=99, path="Select")
    with pytest.raises(SchemaError, match="an object of message, total"):
        first_sync(bench)
    bench.api.forgive()
    bench.api.fail(faults.status(200, [{"label": "no code"}]), times=99, path="Select")
    with pytest.raises(SchemaError, match="have no code"):
        first_sync(bench)


# -- what is asked -----------------------------------------------------------------------------------------------------------


def test_the_marks_of_an_erp_link_are_left_alone(bench):
    bench.add(3)
    first_sync(bench)
    assert all("srvExport" not in str(question) for question in questions(bench))
    assert {request.method for request in bench.api.requests if "Select" not in request.path} <= {"GET", "POST"}
    assert all(PASSWORD.encode() not in request.body for request in bench.api.requests if "Authenticate" not in request.path)


def test_one_company_may_be_named(bench):
    with connected(bench.connector(company="002")) as connector:
        list(connector.pages("deals", None, bench.clock.now()))
    assert questions(bench) == questions(bench, companyCode="002") != []


def test_settings_refuse_what_cannot_be(bench):
    for wrong in (
        {"tables": {"calls": "x"}},
        {"server_timezone": "Paris"},
        {"fields": {"calls": {"a": "b"}}},
        {"states": {"A": "won!"}},
    ):
        with pytest.raises(ValidationError):
            bench.connector(**wrong)


def test_records_are_fetched_by_code_in_parts(bench):
    ids = bench.add(130)
    bench.delete(ids[4])
    with connected(bench.connector()) as connector:
        rows = [row for page in connector.fetch("deals", ids) for row in page.rows["deals"]]
    assert {row["native_id"] for row in rows} == set(ids) - {ids[4]}
    assert {row["amount"] for row in rows} >= {Decimal(100), Decimal(12_900)}
