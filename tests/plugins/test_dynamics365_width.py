"""The further entities of Dynamics 365, its logins, and what refusals of its services are told as."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from kpid_dynamics365 import DynamicsSettings
from pydantic import ValidationError

from kpid.plugin import AuthError, Secret, thumbprint
from kpid.testing import MemorySync, faults
from kpid.testing.bench import connected, later, sync_into
from kpid.testing.crm_life import fill
from kpid.testing.expecting import compare_rows
from kpid.testing.walks import Walk
from tests.vendors.dynamics import DynamicsBench


@pytest.fixture
def bench() -> Iterator[DynamicsBench]:
    with DynamicsBench() as bench:
        yield bench


def synced(bench: DynamicsBench, **options) -> MemorySync:
    held = MemorySync()
    sync_into(bench, held, **options)
    return held


def only(bench: DynamicsBench, *entities: str) -> DynamicsBench:
    bench.entities = entities
    return bench


# -- orders, campaigns, surveys ----------------------------------------------------------------------------------------------


def test_invoices_and_their_lines_stand_for_orders_where_the_settings_say_so(bench):
    fill(bench.crm, 40)
    order = next(iter(bench.crm.living("orders")))
    bench.crm.edit("orders", order, status="paid")
    only(bench, "orders", "order_lines")
    orders = synced(bench)
    invoices = synced(bench, orders_from="invoices")
    assert (orders.live("orders")[order]["status"], invoices.live("orders")[order]["status"]) == ("placed", "paid")
    assert synced(bench, order_states={4: "paid"}).live("orders")[order]["status"] == "paid"
    for held in (orders, invoices):
        line = held.live("order_lines")[order]
        assert (line["order_id"], line["net_amount"], line["unit_price"]) == (order, Decimal("99.5"), Decimal("99.5"))
        assert held.live("orders").keys() == held.live("order_lines").keys() == bench.crm.living("orders").keys()
    paths = {request.path.rpartition("/")[2] for request in bench.api.requests}
    assert {"salesorders", "salesorderdetails", "invoices", "invoicedetails"} <= paths


def test_who_responded_to_a_campaign_is_told_by_id_or_by_address(bench):
    person = bench.crm.create("contacts", {"name": "Ada Example"})
    campaign = bench.crm.create("campaigns", {"name": "Herbst"})
    member = bench.crm.create("members", {"campaign_id": campaign, "person_id": person})
    only(bench, "campaign_members")
    row = synced(bench).live("campaign_members")[member]
    assert (row["campaign_id"], row["person_id"]) == (campaign, person)
    assert row["responded_at"] == row["created_at"]
    assert "exposed_at" not in row
    bench.api.forbidden = {"activityparties"}
    held = synced(bench)
    assert held.live("campaign_members")[member]["person_id"] == "somebody@example.com"
    assert any("activityparties may not be read: responses are told by their address" in text for text in held.warnings)


def test_surveys_are_answers_of_customer_voice_and_ratings_of_cases(bench):
    person = bench.crm.create("contacts", {"name": "Ada Example"})
    answer = bench.crm.create("surveys", {"score": 9, "respondent_id": person, "submitted_at": bench.clock.now()})
    ticket = bench.crm.create("tickets", {"subject": "Question", "satisfaction": 4, "status": "open"})
    plain = bench.crm.create("tickets", {"subject": "Other", "status": "open"})
    only(bench, "survey_sends", "survey_responses")
    held = synced(bench)
    row, case = (held.live("survey_responses")[key] for key in (answer, f"case-{ticket}"))
    assert (row["kind"], row["score"], row["scale_max"], row["respondent_id"], row["send_id"]) == ("nps", 9, 10, person, answer)
    assert (case["kind"], case["score"], case["scale_min"], case["scale_max"], case["ticket_id"]) == ("csat", 4, 1, 5, ticket)
    send = held.live("survey_sends")[answer]
    assert send["wave_id"] == row["wave_id"]
    assert send["sent_at"] == send["delivered_at"] < bench.clock.now()
    assert len(held.live("survey_responses")) == 2

    bench.crm.edit("tickets", ticket, satisfaction=None)
    bench.crm.edit("tickets", plain, satisfaction=1)
    later(bench)
    sync_into(bench, held)
    assert held.live("survey_responses").keys() == {answer, f"case-{plain}"}
    sync_into(bench, held, reconcile=True)
    assert held.live("survey_responses").keys() == {answer, f"case-{plain}"}

    other = synced(bench, survey_score="msfp_npsscore", survey_kind="ces", survey_scale=[1, 7], surveys_from=["customer_voice"])
    assert [(row["kind"], row["scale_max"]) for row in other.live("survey_responses").values()] == [("ces", 7)]
    bench.api.absent = {"msfp_surveyresponses"}
    assert len(synced(only(bench, "survey_responses"), surveys_from=["cases"]).live("survey_responses")) == 1


def test_a_score_column_that_is_not_there_is_named(bench):
    bench.crm.create("surveys", {"score": 9, "respondent_id": None, "submitted_at": bench.clock.now()})
    only(bench, "survey_responses")
    held = synced(bench, survey_score="new_score")
    assert [row["score"] for row in held.live("survey_responses").values()] == [None]
    assert any("msfp_surveyresponse has no column new_score" in text for text in held.warnings)
    with connected(bench.connector(survey_score="msfp_npscore")) as connector:
        found = {finding.text: finding.hint for finding in connector.check() if not finding.ok}
    assert found["the table msfp_surveyresponse has no column msfp_npscore"] == "Did you mean msfp_npsscore?"


def test_deals_tell_their_rival_and_forecast_and_cases_their_first_reply(bench):
    deal = bench.add(1)[0]
    bench.crm.edit("deals", deal, forecast_category="commit")
    replied = bench.clock.now()
    ticket = bench.crm.create("tickets", {"subject": "Question", "status": "open", "first_reply_at": replied})
    only(bench, "deals", "tickets")
    assert synced(bench).live("deals")[deal]["forecast_category"] == "commit"
    bench.crm.move(deal, "lost")
    held = synced(bench)
    assert held.live("deals")[deal]["loss_competitor"] == "Example Rival"
    assert datetime.fromisoformat(held.live("tickets")[ticket]["first_reply_at"]) == replied.replace(microsecond=0)
    bench.api.hidden |= {("deals", "msdyn_forecastcategory"), ("tickets", "_firstresponsebykpiid_value")}
    bare = synced(bench)
    assert bare.live("deals")[deal]["forecast_category"] is None
    assert bare.warnings == []  # not every environment has them


# -- going back --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tracked", [True, False])
def test_what_changed_since_an_instant_is_read_again_and_the_rest_left_alone(bench, tmp_path, tracked):
    first = bench.add(150)
    bench.api.untracked = set() if tracked else {"opportunity"}
    bench.clock.advance(timedelta(days=1))
    with Walk(bench, tmp_path, random.Random(0)) as walk:
        only(bench, "deals")
        bench.tells_all = False  # what is gone from a table without tracking is only found by comparing ids
        walk.sync_calmly()
        since = bench.clock.now()
        bench.change(first[7])
        walk.sync_calmly()
        bench.delete(first[5])  # the link that would tell of it is given up
        bench.clock.advance(timedelta(hours=2))
        (deals,) = (one for one in walk.sync_calmly(since=since).entities if one.entity == "deals")
        assert 0 < deals.rows < 10
        assert not tracked or not walk.living("deals").keys() & {first[5]}
        before = len(bench.api.requests)
        bench.change(first[3])
        bench.delete(first[4])
        walk.settle()
        compare_rows(bench.truth(), walk.living("deals"), "deals")
        assert any("$deltatoken" in request.query for request in bench.api.requests[before:]) == tracked
        assert not any("track-changes" in request.headers.get("Prefer", "") for request in bench.api.requests[before:])


# -- the login ---------------------------------------------------------------------------------------------------------------


def certified(bench: DynamicsBench) -> dict[str, str]:
    """A key and its certificate, which the fake knows from now on."""
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "kpid.example.com")])
    at = datetime(2026, 1, 1, tzinfo=UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 7, at, at + timedelta(days=900)).sign(key, hashes.SHA256())

    def verify(signed: bytes, signature: bytes) -> bool:
        try:
            key.public_key().verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            return False
        return True

    pem = serialization.Encoding.PEM
    bare = serialization.NoEncryption()
    text = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, bare).decode()
    certificate = made.public_bytes(pem).decode()
    bench.api.proofs.verify, bench.api.proofs.thumbprint = verify, thumbprint(certificate)
    return {"private_key": text, "certificate": certificate}


def test_a_certificate_logs_in_instead_of_a_secret(bench):
    first = bench.add(3)
    proof = {**certified(bench), "client_secret": None}
    only(bench, "deals")
    assert synced(bench, **proof).live("deals").keys() == set(first)
    login = next(request for request in bench.api.requests if request.path.endswith("/token"))
    assert "client_secret" not in login.form()
    assert "PRIVATE" not in login.body.decode()
    other = {**certified(bench), "client_secret": None, "certificate": proof["certificate"]}
    with connected(bench.connector(**other)) as connector, pytest.raises(AuthError) as caught:
        connector.server_time()
    assert "PRIVATE KEY" not in f"{caught.value} {caught.value.__cause__}"


def test_one_proof_is_needed_and_it_has_to_be_whole(bench):
    certificate = certified(bench)["certificate"]
    usual = {name: value for name, value in bench.options().items() if name != "client_secret"}
    for wrong in (
        {},
        {"client_secret": Secret("x"), "private_key": Secret("y"), "certificate": certificate},
        {"private_key": Secret("y")},
        {"private_key": Secret("y"), "certificate": "no certificate"},
    ):
        with pytest.raises(ValidationError, match=r"client_secret|belong together|not one in PEM"):
            DynamicsSettings(**usual, **wrong)


# -- refusals ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "fault", "text", "hint"),
    [
        ("token", faults.redirected("https://login.example.net/elsewhere"), "was redirected to", "address of the login"),
        ("token", faults.status(403, "<html>blocked</html>"), "the way to the login is blocked", "firewall"),
        ("token", faults.status(400, {"error": "x", "error_codes": [90002]}), "no such directory", "tenant"),
        ("token", faults.status(400, {"error": "x", "error_codes": [53003]}), "blocked by a policy", "Conditional Access"),
        ("batch", faults.redirected("https://example.net/login"), "a redirect", "administration mode"),
        ("batch", faults.status(403, {"error": {"code": "0x80095ffe"}}), "IP firewall blocks", "IP firewall"),
    ],
)
def test_redirects_and_blocked_ways_are_told_with_their_cure(bench, path, fault, text, hint):
    bench.api.fail(fault, times=99, path=path)
    with connected(bench.connector()) as connector, pytest.raises(AuthError, match=text) as caught:
        connector.server_time()
    assert hint in caught.value.hint


def test_check_names_tables_beside_that_may_not_be_read(bench):
    bench.api.forbidden = {"opportunitycloses", "teams", "activityparties"}
    with connected(bench.connector()) as connector:
        found = {finding.text: finding for finding in connector.check() if not finding.ok}
    assert sorted(found) == [
        "activityparties may not be read: responses are told by their address only",
        "opportunitycloses may not be read: closings are known by day at best",
        "teams may not be read: records that they own have no owner",
    ]
    assert all(finding.warning and "Read on the table of" in finding.hint for finding in found.values())


def test_check_names_tables_beside_without_which_nothing_can_be_read(bench):
    bench.api.forbidden = {"transactioncurrencies", "organizations"}
    only(bench, "deals", "accounts", "order_lines", "fx_rates")
    with connected(bench.connector()) as connector:
        found = {finding.subject: finding for finding in connector.check() if not finding.ok}
    assert found.keys() == {"crm: deals", "crm: order_lines", "crm: fx_rates"}
    assert all(not one.warning and "may not read transactioncurrencies" in one.text for one in found.values())
    bench.api.forbidden = {"organizations"}
    with connected(bench.connector()) as connector:
        assert [finding.text for finding in connector.check() if not finding.ok] == ["the application may not read organizations"]
