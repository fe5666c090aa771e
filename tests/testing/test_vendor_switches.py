"""Every switch of the vendors' fakes is turned by a test of each vendor that has it, and every ability is asked for."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest

from kpid.testing import FakeClock, SourceBench, VendorApi
from kpid.testing.bench import ABILITIES
from tests.vendors import BENCHES

ROOT = Path(__file__).parents[2]
COMMON = {
    "tokens": "tokens", "daily": "daily", "skew": "clock", "forbidden": "scopes", "silent": "silence", "renamed": "pipelines",
    "hidden": None,
}  # fmt: skip
"""The switches of all fakes, and the ability that lets the contract turn them; None: it always does."""
LACKS = {
    ("dynamics", "daily"): "it counts requests of five minutes, not of a day",
    ("easyerp", "daily"): "it has no limits at all",
    ("easyerp", "forbidden"): "it says of what one may not see that it is not there",
    ("weavy", "daily"): "the vendor publishes no limits",
    ("salesforce", "renamed"): "stages and record types go by ids: a new name changes nothing",
}
KEPT = {"crm", "portal", "tokens", "limits", "clock", "teams", "token_days", "issuer"}
"""Parts of a fake, and facts of its account, that are no switches."""


def vendor_of(bench: type[SourceBench]) -> str:
    return bench.__module__.rpartition(".")[2]


def texts_of(vendor: str) -> str:
    """The texts of a vendor's own tests and of its bench."""
    files = [ROOT / "tests" / "vendors" / f"{vendor}.py"]
    for folder in ("plugins", "ingest", "testing"):
        files += sorted((ROOT / "tests" / folder).glob(f"test_*{vendor}*.py"))
    assert len(files) > 1, vendor
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


def is_turned(name: str, text: str) -> bool:
    return re.search(rf"\.{name}\b|\b{name}=", text) is not None


def switches(thing: Any, *plain: Any) -> set[str]:
    """The public attributes that it has beyond those of a plainer one."""
    known = KEPT.union(*(vars(one) for one in plain))
    names = {field.name for field in fields(thing)} if is_dataclass(thing) else set(vars(thing))
    return {name for name in names - known if not name.startswith("_")}


@pytest.fixture(params=BENCHES, ids=vendor_of)
def bench(request):
    with request.param() as bench:
        yield bench


def test_every_switch_of_a_fake_is_turned_by_a_test_of_its_vendor(bench):
    text = texts_of(vendor_of(type(bench)))
    with VendorApi(clock=FakeClock()) as plain:
        own = switches(bench.tap.habits) if hasattr(bench, "tap") else switches(bench.api, plain)
    assert own
    assert sorted(name for name in own if not is_turned(name, text)) == []


def test_every_switch_of_all_fakes_is_turned_for_each_vendor_that_has_it(bench):
    vendor = vendor_of(type(bench))
    if not isinstance(getattr(bench, "api", None), VendorApi):
        pytest.skip(f"the fake of {vendor} has switches of its own only")
    text = texts_of(vendor)
    idle = {name for name, able in COMMON.items() if able not in {None, *bench.able()} and not is_turned(name, text)}
    assert idle == {switch for lacking, switch in LACKS if lacking == vendor}


def test_every_ability_is_asked_for_by_a_contract():
    contracts = "\n".join(file.read_text(encoding="utf-8") for file in sorted((ROOT / "kpid" / "testing").glob("contract_*.py")))
    calls = re.findall(r"expect_able\(bench, ([^)]*)\)", contracts)
    asked = {name for call in calls for name in re.findall(r'"(\w+)"', call)}
    assert asked == set(ABILITIES) - {"touched"}, "`touched` is for random walks"


def test_benches_name_abilities_that_there_are():
    for bench in BENCHES:
        assert bench.can <= set(ABILITIES), bench
