"""What goes wrong between kpid and a vendor: the cure is named, no secret is told, the other sources are not touched."""

from __future__ import annotations

import json
import unittest
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kpid.app import App, open_app
from kpid.commands.doctor import doctor
from kpid.commands.listings import connect_findings
from kpid.commands.once import run_once
from kpid.commands.sources import list_sources
from kpid.testing import Answer, FakeApi, Request, SourceBench, expect_able, faults
from tests.journey.connected import make_company, options_of
from tests.vendors import BENCHES

ALWAYS = 1_000_000


@pytest.fixture(params=BENCHES, ids=lambda kind: kind.__name__.removesuffix("Bench").lower())
def bench(request: pytest.FixtureRequest) -> Iterator[SourceBench]:
    with request.param() as bench:
        bench.add(5)
        yield bench


@dataclass
class Company:
    """What kpid does for a company, and all that it says and writes."""

    bench: SourceBench
    folder: Path
    app: App
    said: str = ""

    def round(self) -> dict[str, str]:
        """One round of kpid; what failed, and why."""
        done = run_once(self.app)
        self.said += repr(done)
        return dict(done.failures)

    def findings(self) -> list[dict[str, Any]]:
        """What ``kpid doctor`` says of the CRM."""
        found = [one for one in doctor(self.app) if one["subject"].startswith("source:crm") and not one["ok"]]
        self.said += json.dumps(found)
        return found

    def connected(self) -> list[dict[str, Any]]:
        """What ``kpid check --connect`` says of the CRM that is not well."""
        found = [one for one in connect_findings(self.app) if "crm" in one["subject"] and not one["ok"]]
        self.said += json.dumps(found)
        return found

    def states(self) -> dict[str, str]:
        """The state of each of the CRM's entities."""
        found = list_sources(self.app)
        self.said += json.dumps(found)
        assert {row["state"] for row in found if row["source"] == "rates"} == {"done"}, "the other source is not touched"
        assert {row["rows"] for row in found if row["source"] == "rates"} == {4}
        return {row["entity"]: row["state"] for row in found if row["source"] == "crm" and row["state"] != "carried"}

    def later(self) -> None:
        """Some time passes."""
        self.bench.clock.sleep(3600)


@pytest.fixture
def company(bench: SourceBench, tmp_path: Path, capfd: Any, caplog: Any) -> Iterator[Callable[..., Company]]:
    """Makes the company, with changed options of the CRM; at the end no secret is anywhere."""
    made: list[Company] = []

    def make(**changed: Any) -> Company:
        shell = make_company(tmp_path, options_of(bench, **changed))
        made.append(Company(bench, tmp_path, open_app(shell.config, bench.clock)))
        return made[-1]

    yield make
    for one in made:
        one.app.close()
        out, err = capfd.readouterr()
        texts = [one.said, out, err, caplog.text]
        files = [
            path for path in one.folder.rglob("*") if path.is_file() and path.name != "kpid.yml" and "kept" not in path.parts
        ]
        assert any(path.name == "kpid.db" for path in files)
        for secret in bench.secrets:
            assert not any(secret in text for text in texts)
            assert [path.name for path in files if secret.encode() in path.read_bytes()] == []


def test_wrong_credentials_are_told_with_the_cure(company: Callable[..., Company], bench: SourceBench) -> None:
    bench.revoke()
    one = company()
    assert "crm" in one.round()
    assert set(one.states().values()) == {"failed"}
    assert any(finding["hint"] for finding in one.findings())
    assert any(finding["hint"] for finding in one.connected())


def test_credentials_that_are_revoked_in_the_middle_end_the_sync_and_lose_nothing(
    company: Callable[..., Company], bench: SourceBench
) -> None:
    one = company()
    assert one.round() == {}
    before = _rows(one)
    bench.add(5)
    one.later()

    def revoke(_request: Request, answer: Answer) -> Answer:
        bench.revoke()
        return answer

    _api(bench).fail(revoke)
    assert "crm" in one.round()
    one.states()
    assert any(finding["hint"] for finding in one.findings())
    assert _rows(one) >= before


def test_a_missing_right_is_named_and_the_rest_is_read(company: Callable[..., Company], bench: SourceBench) -> None:
    expect_able(bench, "scopes")
    bench.lose_scope("accounts")
    one = company()
    assert "crm" in one.round()
    states = one.states()
    assert (states["accounts"], states["deals"]) == ("failed", "done")
    (finding,) = [found for found in one.findings() if found["subject"] == "source:crm/accounts"]
    assert finding["hint"]
    assert one.connected()


def test_an_unknown_field_of_the_company_is_named(company: Callable[..., Company], bench: SourceBench) -> None:
    expect_able(bench, "fields")
    connector = bench.misspell_field()
    fields = {entity: dict(own) for entity, own in connector.settings.fields.items()}
    connector.close()
    one = company(fields=fields)
    one.round()
    one.states()
    _expect_named(one, next(iter(fields["deals"].values())))


def test_a_renamed_pipeline_is_named(company: Callable[..., Company], bench: SourceBench) -> None:
    expect_able(bench, "pipelines")
    connector = bench.rename_pipeline()
    settings = connector.settings.model_dump(mode="json", include={"pipelines", "stages"}, exclude_defaults=True)
    connector.close()
    ((_, names),) = settings.items()
    one = company(**settings)
    one.round()
    one.states()
    _expect_named(one, next(iter(names)))


def test_a_page_of_html_is_no_data(company: Callable[..., Company], bench: SourceBench) -> None:
    one = company()
    assert one.round() == {}
    before = _rows(one)
    one.later()
    _api(bench).fail(faults.html_ok(), times=ALWAYS)
    assert "crm" in one.round()
    one.states()
    assert any(finding["hint"] for finding in one.findings())
    assert _rows(one) == before


def test_no_token_goes_to_another_host(company: Callable[..., Company], bench: SourceBench) -> None:
    with FakeApi(bench.clock) as elsewhere:
        one = company()
        away = faults.redirected(f"{elsewhere.url}/steal")

        def lure(request: Request, answer: Answer) -> Answer:
            return away(request, answer) if {"Authorization", "Cookie"} & request.headers.keys() else answer

        _api(bench).fail(lure, times=ALWAYS)
        assert "crm" in one.round()
        assert elsewhere.requests == []
    one.states()
    told = [finding["text"] for finding in one.findings() if finding["hint"]]
    assert any("redirect" in text or "answered 302" in text for text in told), told


def _api(bench: SourceBench) -> FakeApi:
    if not isinstance(getattr(bench, "api", None), FakeApi):
        raise unittest.SkipTest("the source is no server")
    return bench.api


def _rows(one: Company) -> int:
    (row,) = [row for row in list_sources(one.app, source="crm") if row["entity"] == "deals"]
    return int(row["rows"] - row["deleted"])


def _expect_named(one: Company, name: str) -> None:
    """`kpid check --connect` names it, with what to do; what `kpid doctor` says of it has a cure, too."""
    assert any(name in finding["text"] and finding["hint"] for finding in one.connected()), one.connected()
    assert [finding for finding in one.findings() if not finding["hint"]] == []
