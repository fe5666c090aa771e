"""The invented HubSpot has the traps of the real one."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from kpid.plugin import BearerAuth, HttpClient, Secret
from kpid.testing import FakeClock
from kpid.testing.hubspot import TOKEN, FakeHubSpot
from kpid.testing.hubspot_life import add_company, fill
from kpid.testing.hubspot_portal import HubSpotPortal, stamp

DEALS = "/crm/objects/2026-09/deals"


@pytest.fixture
def api() -> Iterator[FakeHubSpot]:
    with FakeHubSpot(clock=FakeClock(), strict_limits=False) as api:
        yield api


@pytest.fixture
def client(api: FakeHubSpot) -> Iterator[HttpClient]:
    with HttpClient(
        api.url, name="hs", clock=api.clock, allow_private=True, max_tries=1, auth=BearerAuth(Secret(TOKEN))
    ) as client:
        yield client


def since(at, name="hs_lastmodifieddate"):
    return {"propertyName": name, "operator": "GTE", "value": str(round(at.timestamp() * 1000))}


def search(client, kind="deals", filters=(), **more):
    body = {"filterGroups": [{"filters": list(filters)}], "limit": 200, **more}
    return client.request_raw("POST", f"/crm/objects/2026-09/{kind}/search", json=body)


def deals(api: FakeHubSpot, count: int) -> list[int]:
    return [api.portal.create("deals", {"dealname": f"D{n}", "dealstage": "contractsent", "amount": ""}) for n in range(count)]


def test_lists_come_in_id_order_without_paging_at_the_end(api, client):
    ids = deals(api, 5)
    first = client.get(DEALS, params={"limit": 3}).json()
    second = client.get(DEALS, params={"limit": 3, "after": first["paging"]["next"]["after"]}).json()
    assert [record["id"] for record in first["results"] + second["results"]] == [str(number) for number in ids]
    assert "paging" not in second


def test_values_are_texts_and_only_those_asked_for(api, client):
    deals(api, 1)
    (record,) = client.get(DEALS, params={"properties": "amount,dealname,unheard_of"}).json()["results"]
    assert record["properties"] == {"amount": "", "dealname": "D0", "hs_object_id": record["id"]}
    (bare,) = client.get(DEALS).json()["results"]
    assert "dealname" not in bare["properties"]


@pytest.mark.parametrize(
    ("params", "status"), [({"limit": 101}, 400), ({"limit": 51, "propertiesWithHistory": "dealstage"}, 400)]
)
def test_lists_have_their_limits(client, params, status):
    query = "&".join(f"{key}={value}" for key, value in params.items())
    assert client.request_raw("GET", f"{DEALS}?{query}").status == status


def test_search_ends_at_ten_thousand(api, client):
    assert search(client, after="9800").status == 200
    assert search(client, after="9801").status == 400
    assert search(client, limit=201).status == 400


def test_search_is_late(api, client):
    (deal,) = deals(api, 1)
    assert search(client).json()["total"] == 0
    api.clock.advance(timedelta(seconds=31))
    assert search(client).json()["total"] == 1
    api.portal.edit("deals", deal, dealname="New")
    (found,) = search(client, properties=["dealname"]).json()["results"]
    assert found["properties"]["dealname"] == "D0"


def test_the_wrong_modified_property_finds_nothing_and_says_200(api, client):
    add_company(api.portal, 1, at=api.clock.now() - timedelta(hours=1))
    api.clock.advance(timedelta(hours=1))
    start = api.clock.now() - timedelta(days=1)
    assert search(client, "contacts", [since(start, "lastmodifieddate")]).json()["total"] == 1
    wrong = search(client, "contacts", [since(start)])
    assert (wrong.status, wrong.json()["total"]) == (200, 0)
    assert search(client, "companies", [since(start, "lastmodifieddate")]).json()["total"] == 0


def test_deleting_leaves_the_modified_time_and_hides_from_search(api, client):
    first, second = deals(api, 2)
    before = api.portal.records["deals"][first].updated
    api.clock.advance(timedelta(hours=1))
    api.portal.archive("deals", first)
    assert [record["id"] for record in search(client).json()["results"]] == [str(second)]
    (gone,) = client.get(DEALS, params={"archived": "true"}).json()["results"]
    assert (gone["archivedAt"], gone["updatedAt"]) == (stamp(api.clock.now()), stamp(before))
    api.clock.advance(timedelta(days=91))
    assert client.get(DEALS, params={"archived": "true"}).json()["results"] == []


def test_batch_reads_say_207_for_what_is_gone(api, client):
    (deal,) = deals(api, 1)
    reply = client.request_raw("POST", f"{DEALS}/batch/read", json={"inputs": [{"id": str(deal)}, {"id": "1"}]})
    assert (reply.status, len(reply.json()["results"]), reply.json()["numErrors"]) == (207, 1, 1)


def test_history_is_newest_first(api, client):
    (deal,) = deals(api, 1)
    api.clock.advance(timedelta(hours=1))
    api.portal.edit("deals", deal, dealstage="closedwon")
    (record,) = client.get(DEALS, params={"propertiesWithHistory": "dealstage"}).json()["results"]
    assert [version["value"] for version in record["propertiesWithHistory"]["dealstage"]] == ["closedwon", "contractsent"]


def test_another_token_is_401_and_a_missing_scope_403(api, client):
    api.missing_scopes = {"tickets"}
    refused = client.request_raw("GET", "/crm/objects/2026-09/tickets")
    assert (refused.status, refused.json()["category"]) == (403, "MISSING_SCOPES")
    api.token = "other"
    assert client.request_raw("GET", DEALS).status == 401


def test_too_many_searches_are_429_without_retry_after(client):
    with FakeHubSpot(clock=FakeClock()) as strict, HttpClient(
        strict.url, name="hs", clock=strict.clock, allow_private=True, auth=BearerAuth(Secret(TOKEN))
    ) as eager:  # fmt: skip
        replies = [search(eager) for _ in range(6)]
        assert [reply.status for reply in replies] == [200] * 5 + [429]
        assert replies[-1].json()["policyName"] == "SECONDLY"
        assert "Retry-After" not in replies[-1].headers
        strict.clock.advance(timedelta(seconds=1))
        assert search(eager).status == 200


def test_a_filled_portal_is_repeatable():
    portals = [HubSpotPortal(FakeClock(), seed=5) for _ in range(2)]
    for portal in portals:
        fill(portal, 30)
    assert portals[0].records == portals[1].records
    assert len(portals[0].live("deals")) == 30


def test_a_purged_record_leaves_no_trace(api, client):
    (deal,) = deals(api, 1)
    api.portal.purge("deals", deal)
    assert client.get(DEALS).json()["results"] == []
    assert client.get(DEALS, params={"archived": "true"}).json()["results"] == []
