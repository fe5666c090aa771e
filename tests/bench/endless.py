"""CRMs of any size behind the vendors' fakes, for benches: ``serve(vendor, deals)`` runs one in this process.

The fake itself answers everything but the pages of deals, and holds twelve deals. Their JSON (or CSV) as the fake writes it is
the pattern of all others: ids, names, amounts and instants are filled in by number. So nothing is stored, however many deals
there are, and a page costs next to nothing.
"""

from __future__ import annotations

import json
import re
import sys
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from kpid.clock import Clock, SystemClock
from kpid.testing.api import Answer, FakeApi, Request
from kpid.testing.crm import Crm
from kpid.testing.dataverse import CLIENT_SECRET as DATAVERSE_SECRET
from kpid.testing.dataverse import ROOT, TENANT, FakeDataverse
from kpid.testing.dataverse_batch import answered, asked
from kpid.testing.dataverse_shapes import vendor_id
from kpid.testing.easyerp import LOGIN, PASSWORD, FakeEasyErp
from kpid.testing.hubspot import TOKEN, FakeHubSpot
from kpid.testing.hubspot_portal import HubSpotPortal, stamp
from kpid.testing.salesforce import CLIENT_ID, CLIENT_SECRET, VERSION, FakeSalesforce
from kpid.testing.salesforce_fields import sf_id
from kpid.testing.singer import SingerTap
from kpid.testing.weavy import PASSWORD as WEAVY_PASSWORD
from kpid.testing.weavy import PROJECT, USER, FakeWeavy

SAMPLE = 12
"""Deals of the fake: a third is open, a third won by way of another stage, a third lost."""
MADE, MOVED, CHANGED = (datetime(2020, month, month + 1, month + 2, 4, 5, tzinfo=UTC) for month in (1, 2, 3))
"""Instants in the sample that stand for those of a deal."""
STEP = timedelta(seconds=17)
FIRST = (datetime.now(UTC) - timedelta(days=300)).replace(hour=0, minute=0, second=0, microsecond=0)
"""When the first deal of all last changed; each following one a step later."""


class Times:
    """Days and times of day of a deal's instants, by its number."""

    def __init__(self) -> None:
        self.days = [(FIRST + timedelta(days=day - 90)).strftime("%Y-%m-%d") for day in range(400)]
        self._times = [f"{at // 3600:02d}:{at // 60 % 60:02d}:{at % 60:02d}" for at in range(86_400)]
        self._step = round(STEP.total_seconds())

    def of(self, number: int) -> tuple[str, str]:
        """The day on which a deal changed (it was made 60 and moved 30 days before), and the time of day."""
        day, second = divmod(number * self._step, 86_400)
        return self.days[90 + day], self._times[second]

    def fields(self, number: int) -> dict[str, Any]:
        """What patterns name."""
        day, second = divmod(number * self._step, 86_400)
        time, changed = self._times[second], self.days[90 + day]
        return {"time": time, "made": self.days[30 + day], "moved": self.days[60 + day], "changed": changed}


TIMES = Times()


class Pattern:
    """Texts of the sample's deals, or of what hangs on them, with places for what differs from deal to deal.

    Args:
        texts: in their order.
        sample_ids: ids of the sample's deals.
        native_id: the id of a deal by its number; that of the sample's deals is below :data:`SAMPLE`.
        numbers: to which deal of the sample each text belongs; None: one to each.
    """

    def __init__(
        self,
        texts: Sequence[str],
        sample_ids: Sequence[str],
        native_id: Callable[[int], str],
        numbers: Sequence[int] | None = None,
    ) -> None:
        self._numbers = range(SAMPLE) if numbers is None else numbers
        self._texts = [_opened(text, sample_ids[of], of) for text, of in zip(texts, self._numbers, strict=True)]
        self._id = native_id

    def before(self, deal: int) -> int:
        """How many texts there are of the deals before this one."""
        rounds, rest = divmod(deal, SAMPLE)
        return rounds * len(self._numbers) + bisect_left(self._numbers, rest)

    def text(self, place: int) -> str:
        """One text."""
        rounds, rest = divmod(place, len(self._numbers))
        number = rounds * SAMPLE + self._numbers[rest]
        own = {"id": self._id(number), "number": number, "amount": number * 37 % 90_000}
        return self._texts[rest] % (own | TIMES.fields(number))

    def joined(self, places: Iterable[int], mark: str = ",") -> str:
        """Some texts."""
        return mark.join(map(self.text, places))


def _opened(text: str, native_id: str, number: int) -> str:
    text = (
        text.replace("%", "%%")
        .replace("%%(", "%(")
        .replace(native_id, "%(id)s")
        .replace(_name(number), "Example deal %(number)d")
    )
    text = re.sub(rf"{_amount(number)}0?", "%(amount)d.25", text)
    for word, at in (("made", MADE), ("moved", MOVED), ("changed", CHANGED)):
        day, time = at.strftime("%Y-%m-%d"), at.strftime("%H:%M:%S")
        text = re.sub(rf"{day}([T ]){time}", rf"%({word})s\1%(time)s", text).replace(day, f"%({word})s")
    return text


def _name(number: int) -> str:
    return f"Sample deal {number:02d} of {SAMPLE}"


def _amount(number: int) -> str:
    return f"77{number:02d}.25"


def filled(crm: Crm) -> Crm:
    """The sample, with people and companies; the ids of deals are those of the numbers from 0 on."""
    owners = [crm.create("users", {"name": f"Seller {number}", "is_active": True}, at=MADE) for number in range(3)]
    accounts = [crm.create("accounts", {"name": f"Example Works {number}"}, at=MADE) for number in range(4)]
    for number in range(SAMPLE):
        values = {"owner_id": owners[number % 3], "account_id": accounts[number % 4], "amount": Decimal(_amount(number))}
        deal = crm.add_deal(at=MADE, name=_name(number), **values)
        for stage, at in ((), (("offer", MOVED), ("won", CHANGED)), (("lost", CHANGED),))[number % 3]:
            crm.move(deal, stage, at=at)
        crm.edit("deals", deal, at=CHANGED)
    return crm


class EndlessHubSpot(FakeHubSpot):
    """``GET`` of deals, page by page; ``after`` is a place in the list."""

    def __init__(self, count: int) -> None:
        clock: Any = SystemClock()
        super().__init__(HubSpotPortal(clock), clock=clock, strict_limits=False)
        self.count = count
        self._patterns: dict[str, Pattern] = {}
        owners = [str(owner["id"]) for owner in self.portal.owners]
        for number in range(SAMPLE):
            values = {
                "dealname": _name(number), "amount": _amount(number), "pipeline": "default", "deal_currency_code": "EUR",
                "dealstage": "appointmentscheduled", "hubspot_owner_id": owners[number % 3], "closedate": stamp(CHANGED),
                "dealtype": "newbusiness",
            }  # fmt: skip
            deal = self.portal.create("deals", values, at=MADE, links={"companies": [4711 + number]})
            for stage, at in ((), (("contractsent", MOVED), ("closedwon", CHANGED)), (("closedlost", CHANGED),))[number % 3]:
                self.portal.edit("deals", deal, at=at, dealstage=stage)
            self.portal.edit("deals", deal, at=CHANGED)

    def options(self) -> dict[str, Any]:
        return {"token": TOKEN, "entities": ["deals"]}

    def answer(self, request: Request) -> Answer:
        """Lists of living deals are endless."""
        if request.method != "GET" or not request.path.endswith("/deals") or request.arg("archived") == "true":
            return super().answer(request)
        if "/objects/" not in request.path:
            return super().answer(request)
        key = "|".join(request.arg(name) for name in ("properties", "propertiesWithHistory", "associations"))
        if key not in self._patterns:
            body = super().answer(replace(request, query={**request.query, "after": [""], "limit": [str(SAMPLE)]})).body
            found = sorted(body["results"], key=lambda one: one["properties"].get("dealname") or one["id"])
            keys = [one["id"] for one in found]
            self._patterns[key] = Pattern([json.dumps(one) for one in found], keys, lambda number: str(31_804_550_001 + number))
        first = int(request.arg("after") or 0)
        last = min(first + int(request.arg("limit", "10")), self.count)
        following = f',"paging":{{"next":{{"after":"{last}"}}}}' if last < self.count else ""
        return Answer(200, f'{{"results":[{self._patterns[key].joined(range(first, last))}]{following}}}')


class EndlessSalesforce(FakeSalesforce):
    """Bulk jobs and queries of opportunities and of their history."""

    endless = ("Opportunity", "OpportunityHistory")

    def __init__(self, count: int) -> None:
        super().__init__(clock=SystemClock(), strict_limits=False)
        self.daily = None
        self.bulk.waits = 0
        filled(self.crm)
        self.count = count
        self._jobs: dict[str, str] = {}
        self._patterns: dict[str, Pattern] = {}
        self._heads: dict[str, str] = {}
        self._sample = [sf_id("deals", number + 1) for number in range(SAMPLE)]

    def options(self) -> dict[str, Any]:
        return {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "entities": ["deals"], "read_timeout": 300}

    def answer(self, request: Request) -> Answer:
        """Opportunities are endless, and so is their history."""
        if request.path == f"{VERSION}/query":
            query = request.arg("q")
            name = query.partition(" FROM ")[2].partition(" ")[0]
            if name in self.endless and "IsDeleted" not in query:
                return self._queried(request, query, name)
        if request.path.startswith(f"{VERSION}/query/endless-"):
            return self._further(int(request.path.rpartition("-")[2]))
        return self._bulk(request) if "/jobs/query" in request.path else super().answer(request)

    def _queried(self, request: Request, query: str, name: str) -> Answer:
        fields = query.partition(" FROM ")[0]
        is_count = "COUNT()" in fields
        key = f"SELECT Id,OpportunityId FROM {name}" if is_count and name != "Opportunity" else f"{fields} FROM {name}"
        if is_count and name == "Opportunity":
            return Answer(200, {"totalSize": self.count, "done": True, "records": []})
        pattern = self._patterns.get(key) or self._made(request, key, name)
        if is_count:
            return Answer(200, {"totalSize": pattern.before(self.count), "done": True, "records": []})
        of, after = re.findall(r"'(006\w+)'", query), re.search(r"Id > '(\w+)'", query)
        limit = re.search(r" LIMIT (\d+)$", query)
        if " IN (" in query:
            spans = [range(pattern.before(number), pattern.before(number + 1)) for number in map(_number, of)]
            return self._page_of(pattern, [place for span in spans for place in span])
        if limit is None:
            self._patterns["endless"] = pattern
            return self._further(0)
        first = pattern.before(_number(after[1]) + 1) if after else 0
        return self._page_of(pattern, range(first, min(first + int(limit[1]), pattern.before(self.count))))

    def _made(self, request: Request, key: str, name: str) -> Pattern:
        """The pattern of a query, as the fake answers it."""
        order = "Id" if name == "Opportunity" else "OpportunityId,CreatedDate,Id"
        found = super().answer(replace(request, query={"q": [f"{key} ORDER BY {order}"]})).body["records"]
        self._patterns[key] = self._pattern([json.dumps(one) for one in found])
        return self._patterns[key]

    @staticmethod
    def _page_of(pattern: Pattern, places: Sequence[int]) -> Answer:
        return Answer(200, f'{{"totalSize":{len(places)},"done":true,"records":[{pattern.joined(places)}]}}')

    def _further(self, first: int) -> Answer:
        """A page of a query without a limit."""
        last = min(first + self.page, self.count)
        text = self._patterns["endless"].joined(range(first, last))
        more = f'"nextRecordsUrl":"{VERSION}/query/endless-{last}",' if last < self.count else ""
        return Answer(200, f'{{"totalSize":{self.count},"done":{str(not more).lower()},{more}"records":[{text}]}}')

    def _bulk(self, request: Request) -> Answer:
        answer = super().answer(request)
        job = request.path.partition("/jobs/query/")[2].partition("/")[0]
        if request.method == "POST" and answer.status == 200 and answer.body["object"] in self.endless:
            self._jobs[answer.body["id"]] = answer.body["object"]
        if job not in self._jobs or request.method != "GET":
            return answer
        if job not in self._patterns:
            every = self.bulk.jobs[job]
            head, *lines = self.bulk._csv(every.query, every.found).splitlines()  # as the fake writes them
            self._heads[job], self._patterns[job] = head, self._pattern(lines)
        pattern = self._patterns[job]
        total = pattern.before(self.count)
        if not request.path.endswith("/results"):
            return replace(answer, body={**answer.body, "numberRecordsProcessed": total})
        first = int(request.arg("locator") or 0)
        last = min(first + int(request.arg("maxRecords")), total)
        text = f"{self._heads[job]}\n{pattern.joined(range(first, last), chr(10))}\n"
        headers = {"Sforce-Locator": str(last) if last < total else "null", "Content-Type": "text/csv"}
        return Answer(200, text, {**headers, "Sforce-NumberOfRecords": str(last - first)})

    def _pattern(self, texts: Sequence[str]) -> Pattern:
        numbers = [next(of for of, key in enumerate(self._sample) if key in text) for text in texts]
        texts = [re.sub(r"008\w{12}(\d\d\d)\b", r"008-%(number)d-\1", text) for text in texts]
        return Pattern(texts, self._sample, lambda number: sf_id("deals", number + 1), numbers)


def _number(native_id: str) -> int:
    """Of an id that ends in a number from 1 on, before its three letters if it is Salesforce's."""
    return int(native_id[5:15] if native_id.startswith("006") else native_id[-12:]) - 1


class EndlessDataverse(FakeDataverse):
    """The tracked read of opportunities, and when they were closed."""

    def __init__(self, count: int) -> None:
        super().__init__(clock=SystemClock(), strict_limits=False, limits=())
        self.limits = []
        filled(self.crm)
        self.count = count
        self._pattern: Pattern | None = None
        self._last = ""

    def options(self) -> dict[str, Any]:
        login = {"tenant": TENANT, "client_id": "a1b2c3d4-0000-4000-8000-00000000c11e", "client_secret": DATAVERSE_SECRET}
        return {**login, "login_url": self.url, "entities": ["deals"], "requests_per_minute": 6000}

    def answer(self, request: Request) -> Answer:
        """Opportunities that are not asked for by time, and closings."""
        if request.path.endswith("/$batch") and b"opportunitycloses" in request.body:
            return answered([self._closed(part) for part in asked(request)])
        told = {"$filter", "$deltatoken", "$top"} & request.query.keys()
        if request.path != f"{ROOT}/opportunities" or told:
            return super().answer(request)
        token = re.fullmatch(r"endless-(\d+)", request.arg("$skiptoken"))
        if token is None:
            answer = super().answer(request)
            if answer.status != 200:
                return answer
            rows = answer.body["value"]
            keys = [row["opportunityid"] for row in rows]
            self._pattern = Pattern([json.dumps(row) for row in rows], keys, lambda number: vendor_id("deals", number + 1))
            self._last = f'"@odata.deltaLink":"{answer.body["@odata.deltaLink"]}",' if "@odata.deltaLink" in answer.body else ""
        first = int(token[1]) if token else 0
        size = re.search(r"odata.maxpagesize=(\d+)", request.headers.get("Prefer", ""))
        last = min(first + (int(size[1]) if size else 5000), self.count)
        names = "&".join(f"{name}={values[0]}" for name, values in request.query.items() if name != "$skiptoken")
        link = f'"@odata.nextLink":"{self.url}{ROOT}/opportunities?{names}&$skiptoken=endless-{last}",'
        text = self._pattern.joined(range(first, last)) if self._pattern else ""
        return Answer(200, f'{{{link if last < self.count else self._last}"value":[{text}]}}')

    @staticmethod
    def _closed(part: Request) -> Answer:
        found = re.findall(r"_opportunityid_value eq ([0-9a-f-]+)", part.arg("$filter"))
        days = [(key, *TIMES.of(_number(key))) for key in found]
        rows = [{"_opportunityid_value": key, "actualend": f"{day}T{time}Z"} for key, day, time in days]
        return Answer(200, {"value": rows})


class EndlessEasyErp(FakeEasyErp):
    """The list of opportunities, newest first, and their detail views."""

    details = False

    def __init__(self, count: int) -> None:
        super().__init__(clock=SystemClock(), strict_limits=False)
        filled(self.crm)
        self.count = count
        self._ids = sorted(record.id for record in self.crm.living("deals").values())
        self._patterns: dict[bool, Pattern] = {}

    def options(self) -> dict[str, Any]:
        return {"login": LOGIN, "password": PASSWORD, "entities": ["deals"], "details": self.details}

    def answer(self, request: Request) -> Answer:
        """Opportunities that are not asked for by day."""
        path, _, key = request.path.rpartition("/")
        if path != "/opportunities" or "filter[m][value][]" in request.query or self.tokens is None:
            return super().answer(request)
        if bool(key) not in self._patterns:
            if key:
                found = [super(EndlessEasyErp, self).answer(replace(request, path=f"{path}/{one}")).body for one in self._ids]
            else:
                page = super().answer(replace(request, query={**request.query, "page": ["1"], "count": [str(SAMPLE)]}))
                if page.status != 200:
                    return page
                found = sorted(page.body["data"], key=lambda one: str(one["_id"]))
                found = [{**one, "total": self.count} for one in found]
            self._patterns[bool(key)] = Pattern([json.dumps(one) for one in found], self._ids, self._id)
        elif not self.tokens.is_good(self.token_of(request)):
            return self.error("token", request)
        if key:
            return Answer(200, self._patterns[True].text(int(key[8:], 16) - 1))
        size = int(request.arg("count"))
        newest = self.count - 1 - (int(request.arg("page", "1")) - 1) * size
        text = self._patterns[False].joined(range(newest, max(newest - size, -1), -1))
        return Answer(200, f'{{"total":{self.count if text else 0},"data":[{text}]}}')

    def _id(self, number: int) -> str:
        return f"{self._ids[0][:8]}{number + 1:016x}"


class EndlessWeavy(FakeWeavy):
    """Select of living deals in the order of their codes."""

    def __init__(self, count: int) -> None:
        super().__init__(clock=SystemClock(), strict_limits=False)
        filled(self.crm)
        self.count = count
        self._patterns: dict[str, Pattern] = {}

    def empty_crm(self, clock: Clock) -> Crm:
        """With codes that are wide enough for all."""
        return Crm(clock, ids=lambda kind, number: f"{kind[0].upper()}{number:09d}")

    def options(self) -> dict[str, Any]:
        return {"project": PROJECT, "user": USER, "password": WEAVY_PASSWORD, "entities": ["deals"], "requests_per_10s": 10_000}

    def answer(self, request: Request) -> Answer:
        """Deals by their code alone."""
        told: Mapping[str, Any] = request.json() if request.path.endswith("/Select") else {}
        filters = told.get("filterFields", ())
        if told.get("entityName") != "deal" or told.get("srvAttrib") or any(one["fieldName"] != "codedeal" for one in filters):
            return super().answer(request)
        if len(filters) > 1 or any(one["operator"] != "GreaterThan" for one in filters):
            return super().answer(request)
        names = json.dumps(told["returnFields"])
        if names not in self._patterns:
            plain = {name: value for name, value in told.items() if name not in {"filterFields", "filterGroups"}}
            body = super().answer(replace(request, body=json.dumps({**plain, "offset": 0, "limit": SAMPLE}).encode())).body
            keys = [one["codedeal"] for one in body]
            self._patterns[names] = Pattern([json.dumps(one) for one in body], keys, lambda number: f"D{number + 1:09d}")
        first = int(filters[0]["filterValues"][0][1:]) if filters else 0
        last = min(first + min(int(told["limit"]), self.cap), self.count)
        return Answer(200, f"[{self._patterns[names].joined(range(first, last))}]")


class EndlessEasyErpViews(EndlessEasyErp):
    """With the detail view of each deal, as the connector reads them unless it is told otherwise."""

    details = True


VENDORS: Mapping[str, Callable[[int], FakeApi]] = {
    "hubspot": EndlessHubSpot, "salesforce": EndlessSalesforce, "dynamics365": EndlessDataverse, "easyerp": EndlessEasyErp,
    "easyerp_views": EndlessEasyErpViews, "divalto_weavy": EndlessWeavy,
}  # fmt: skip


TAP = """#!{python} -IS
import json, sys
told = json.load(open({file!r}))
say, texts, days = sys.stdout.write, told["texts"], told["days"]
say(json.dumps({{"type": "SCHEMA", "stream": "opportunities", "schema": told["schema"], "key_properties": ["id"]}}) + chr(10))
for number in range({count}):
    day, second = divmod(number * {step}, 86400)
    time = "%02d:%02d:%02d" % (second // 3600, second // 60 % 60, second % 60)
    own = {{"id": "%d" % (number + 1), "number": number, "amount": number * 37 % 90000, "time": time}}
    own["made"], own["moved"], own["changed"] = days[30 + day], days[60 + day], days[90 + day]
    say(texts[number % {sample}] % own)
    if number % 1000 == 999:
        say(json.dumps({{"type": "STATE", "value": {{"bookmarks": {{"opportunities": {{"modified": number}}}}}}}}) + chr(10))
"""


def write_tap(folder: Path, count: int) -> Path:
    """A Singer tap that tells of so many deals."""
    tap = SingerTap(filled(Crm(SystemClock(), ids=lambda kind, number: f"{kind}-{number:03d}")), folder)
    tap.put_down()
    told = json.loads((folder / "tap.json").read_text())["streams"]["opportunities"]
    records = sorted(told["records"], key=lambda one: str(one["id"]))
    texts = [
        json.dumps({"type": "RECORD", "stream": "opportunities", "record": one, "time_extracted": "2026-11-22T17:10:00Z"}) + "\n"
        for one in records
    ]
    opened = [_opened(text, str(one["id"]), number) for number, (text, one) in enumerate(zip(texts, records, strict=True))]
    file = folder / "endless.json"
    file.write_text(json.dumps({"texts": opened, "schema": told["schema"], "days": TIMES.days}))
    step = round(STEP.total_seconds())
    tap.file.write_text(TAP.format(python=sys.executable, file=str(file), count=count, step=step, sample=SAMPLE))
    return tap.file


def write_csv(file: Path, count: int) -> None:
    """An export of so many deals, in canonical columns."""
    states, stages = ("open", "won", "lost"), ("first", "won", "lost")
    with file.open("w", encoding="utf-8") as out:
        out.write("native_id,name,account_id,owner_id,stage_id,state,amount,currency,closed_at,created_at,updated_at\n")
        for number in range(count):
            at, kind = TIMES.fields(number), number % 3
            changed = f"{at['changed']}T{at['time']}Z"
            closed = changed if kind else ""
            amount = f"{number * 37 % 90_000}.25"
            out.write(
                f"{number + 1},Example deal {number},{number % 4},{number % 3},{stages[kind]},{states[kind]},{amount},EUR,"
                f"{closed},{at['made']}T{at['time']}Z,{changed}\n"
            )


def serve(vendor: str, deals: int, pipe: Connection) -> None:
    """Run a fake; tells its options, and ends when it is told anything."""
    api: Any = VENDORS[vendor](deals)
    with api:
        pipe.send({"base_url": api.url, "allow_private": True, **api.options()})
        pipe.recv()
