"""What reading a CRM costs, connector by connector: ``python -m tests.bench.bench_connectors [--deals 100000 1000000]``.

Each line is a process of its own that does what ``kpid sync`` does: open the configuration, the state file and a new DuckDB
warehouse, read all deals from the vendor's fake for the first time, store them. The fakes run in processes of their own, and so
does the tap. Counted are CPU seconds (user and system, from the start of the process, imports included) and the highest resident
memory; rows are all that is stored: deals and, where the vendor has it, their history. Limits of requests are not kept: the fakes
have none.

Beside it dlt's REST source reads the same pages of deals, with its defaults, into a DuckDB file, the smaller number of them only:
a hundred thousand take it 4 GB. It stores a row for each deal, kpid the deal and its history, which it asks for besides: both are
compared by the rows that they store per CPU second, and by deals alone. dlt lives in an environment of its own: ``$KPID_DLT``
names it, otherwise it is made with pip.

Bars: 30,000 rows per CPU second; 250 MB, not growing with the number of deals; ten times the rows of dlt per CPU second.
Other work on the machine makes seconds of the clock meaningless and CPU seconds up to half as many more.
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from kpid.cli import GARBAGE
from tests.bench.endless import serve, write_csv, write_tap

BAR_ROWS, BAR_MB, BAR_TIMES = 30_000, 250, 10.0
GROWTH_MB = 25
"""So much more at the larger number of deals is noise: it is what one batch and the index of the file come to."""
PACKAGE = "dlt[duckdb]"
CASES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "hubspot": ("hubspot", {}),
    "salesforce, Bulk": ("salesforce", {}),
    "salesforce, REST": ("salesforce", {"bulk_above": 1_000_000_000}),
    "dynamics365": ("dynamics365", {}),
    "easyerp, lists": ("easyerp", {}),
    "easyerp, each deal's view": ("easyerp_views", {}),
    "divalto_weavy": ("divalto_weavy", {}),
    "singer": ("singer", {}),
    "files, CSV": ("files", {}),
}
"""By name: the fake, and further options of the source."""
MAPPING = {
    "entity": "deals",
    "columns": {
        "name": "title", "account_id": "company.id", "owner_id": "seller", "stage_id": "phase", "amount": "value",
        "state": {"column": "result", "values": {"won": "won", "lost": "lost", "*": "open"}}, "currency": "money",
        "closed_at": "ended", "expected_close_date": "expected", "created_at": "created", "updated_at": "modified",
    },
}  # fmt: skip


def main() -> int:
    """Print the figures; 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--deals", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--only", nargs="+", choices=[*CASES, "dlt"], default=[*CASES, "dlt"])
    parser.add_argument("--profile", action="store_true", help="print where the time goes")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        measured_here(Path(options.child), options.profile)
        return 0
    print(f"{'':28}{'deals':>10}{'rows':>11}{'CPU s':>9}{'wall s':>8}{'rows/CPU s':>12}{'deals/CPU s':>13}{'peak MB':>9}")
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for name, (vendor, more) in CASES.items():
        for deals in options.deals if name in options.only else ():
            found[name, deals] = shown(name, deals, measured(vendor, deals, more, profile=options.profile))
    if "dlt" in options.only:
        fewest = min(options.deals)
        for name in DLT:
            found[f"dlt, {name}", fewest] = shown(f"dlt, {name}", fewest, dlt(name, fewest))
    return not judged(found, options.deals)


def shown(name: str, deals: int, told: dict[str, Any]) -> dict[str, Any]:
    """Print a line."""
    rows, cpu = told["rows"], told["cpu"]
    beside = f"  (tap: {told['tap']:.1f} CPU s)" if told.get("tap") else ""
    print(
        f"{name:28}{deals:>10,}{rows:>11,}{cpu:>9.1f}{told['wall']:>8.1f}{rows / cpu:>12,.0f}{deals / cpu:>13,.0f}"
        f"{told['mb']:>9,.0f}{beside}",
        flush=True,
    )
    return told


def judged(found: Mapping[tuple[str, int], Mapping[str, Any]], deals: list[int]) -> bool:
    """Print which bars are met."""
    most, all_met = max(deals), True
    slowest = {name.partition(", ")[2]: n / told["cpu"] for (name, n), told in found.items() if name.startswith("dlt")}
    for name in CASES:
        told = found.get((name, most))
        if told is None:
            continue
        speed, grown = told["rows"] / told["cpu"], told["mb"] - found[name, min(deals)]["mb"]
        verdicts = [
            (f"{speed:,.0f} rows per CPU s", speed >= BAR_ROWS),
            (f"{told['mb']:,.0f} MB", told["mb"] <= BAR_MB),
            (f"{grown:+,.0f} MB from {min(deals):,} deals", grown <= GROWTH_MB),
        ]
        for vendor, theirs in slowest.items():
            if vendor in name or name.partition(",")[0] == vendor:
                times, by_deal = speed / theirs, most / told["cpu"] / theirs
                verdicts.append((f"{times:.1f} times dlt in rows (in deals alone {by_deal:.1f} times)", times >= BAR_TIMES))
        print(f"{name:28}" + "; ".join(f"{text}: {'met' if is_met else 'MISSED'}" for text, is_met in verdicts))
        all_met &= all(is_met for _, is_met in verdicts)
    return all_met


# -- kpid --------------------------------------------------------------------------------------------------------------------


@contextmanager
def source(vendor: str, deals: int, folder: Path) -> Iterator[dict[str, Any]]:
    """The options of a source with so many deals, while its fake runs."""
    if vendor == "singer":
        tap = write_tap(folder / "tap", deals)
        yield {"connector": "singer", "command": [str(tap)], "catalog": "none", "streams": {"opportunities": MAPPING}}
    elif vendor == "files":
        write_csv(folder / "deals.csv", deals)
        yield {"connector": "files", "path": str(folder)}
    else:
        with served(vendor, deals) as options:
            yield {"connector": vendor.partition("_views")[0], **options}


@contextmanager
def served(vendor: str, deals: int) -> Iterator[dict[str, Any]]:
    """The options for a vendor's fake, while it runs in a process of its own."""
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(vendor, deals, theirs), daemon=True)
    server.start()
    try:
        yield ours.recv()
    finally:
        ours.send(None)
        server.join(10)
        server.terminate()


def measured(vendor: str, deals: int, more: Mapping[str, Any], *, profile: bool = False) -> dict[str, Any]:
    """What one first sync takes."""
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        with source(vendor, deals, folder) as options:
            config = {
                "timezone": "Europe/Berlin", "currency": "EUR", "warehouse": "duckdb:///crm.duckdb",
                "sources": {"crm": {**options, **more, "every": "1h"}},
            }  # fmt: skip
            (folder / "kpid.yml").write_text(yaml.safe_dump(config))
            command = [sys.executable, "-m", "tests.bench.bench_connectors", "--child", text]
            done = subprocess.run([*command, *(["--profile"] if profile else [])], capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{vendor} failed:\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}")
        *before, last = done.stdout.splitlines()
        print("\n".join(before), end="\n" if before else "")
        told: dict[str, Any] = json.loads(last)
        if told["deals"] != deals:
            sys.exit(f"{vendor}: {told['deals']:,} of {deals:,} deals are stored")
        return told


def measured_here(folder: Path, profiled: bool) -> None:
    """One sync in this process; prints what it took."""
    sys.meta_path.insert(0, Absent())
    gc.set_threshold(GARBAGE, 20, 20)  # as the program does
    from kpid import cycle
    from kpid.app import open_app
    from kpid.clock import SystemClock

    began = time.perf_counter()
    app = replace(open_app(folder / "kpid.yml", SystemClock()), pacers=unpaced())
    if profiled:
        import cProfile
        import pstats

        with cProfile.Profile(time.process_time) as profile:
            result = cycle.sync(app, "crm")
        pstats.Stats(profile).sort_stats("tottime").print_stats(32)
    else:
        result = cycle.sync(app, "crm")
    assert result.ok, (result.error, result.entities)
    own, tap = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    wall, mb = time.perf_counter() - began, own.ru_maxrss / 1024
    stored = app.warehouse.query("SELECT count(*) AS n FROM deals").column("n")[0].as_py()
    told = {"rows": result.rows, "deals": stored, "wall": wall, "mb": mb, "cpu": own.ru_utime + own.ru_stime}
    app.close()
    print(json.dumps({**told, "tap": tap.ru_utime + tap.ru_stime}))


class Absent:
    """Keeps libraries out that only tests install: Arrow loads them, where they are, and 40 MB with them."""

    names = frozenset({"numpy", "pandas"})

    def find_spec(self, name: str, *_: object) -> None:
        """Nothing of these is found."""
        if name in self.names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def unpaced() -> Any:
    """Pacers that never wait."""
    from kpid.plugin import Pacer, Pacers

    class Unpaced(Pacers):
        def of(self, key: str, limits: Any, clock: Any) -> Pacer:
            return Pacer((), clock)

    return Unpaced()


# -- dlt ---------------------------------------------------------------------------------------------------------------------

DLT: Mapping[str, Mapping[str, Any]] = {
    "hubspot": {
        "path": "crm/objects/2026-09/deals",
        "params": {
            "limit": 100, "archived": "false",
            "properties": "dealname,dealstage,pipeline,amount,deal_currency_code,closedate,hs_is_closed,hs_is_closed_won,"
            "hs_deal_stage_probability,dealtype,closed_lost_reason,hs_analytics_source,notes_last_updated,createdate,"
            "hubspot_owner_id,hs_lastmodifieddate",
        },
        "data_selector": "results",
        "paginator": {"type": "cursor", "cursor_path": "paging.next.after", "cursor_param": "after"},
    },
    "salesforce": {
        "path": "services/data/v66.0/query",
        "params": {
            "q": "SELECT Id,CreatedDate,SystemModstamp,Name,AccountId,ContactId,OwnerId,StageName,IsClosed,IsWon,Amount,"
            "CurrencyIsoCode,Probability,ForecastCategory,Type,LeadSource,CampaignId,CloseDate,LastStageChangeDate,"
            "LastActivityDate,NextStep FROM Opportunity",
        },
        "data_selector": "records",
        "paginator": {"type": "json_link", "next_url_path": "nextRecordsUrl"},
    },
    "dynamics365": {
        "path": "api/data/v9.2/opportunities",
        "params": {
            "$select": "opportunityid,name,_ownerid_value,_customerid_value,_parentaccountid_value,_parentcontactid_value,"
            "_originatingleadid_value,_campaignid_value,_transactioncurrencyid_value,estimatedvalue,actualvalue,"
            "estimatedclosedate,actualclosedate,closeprobability,stageid,salesstage,statecode,statuscode,createdon,modifiedon",
        },
        "data_selector": "value",
        "paginator": {"type": "json_link", "next_url_path": "'@odata.nextLink'"},
    },
}  # fmt: skip
"""What dlt is told of the deals of each vendor: as its documents have it, with the same fields as our connector asks for."""

PIPELINE = """
import json, resource, sys, time
began = time.perf_counter()
import dlt
from dlt.sources.rest_api import rest_api_source
told = json.loads(sys.argv[1])
source = rest_api_source({
    "client": {"base_url": told["base_url"], "auth": {"type": "bearer", "token": told["token"]}, "paginator": told["paginator"]},
    "resources": [{"name": "deals", "endpoint": {"path": told["path"], "params": told["params"],
        "data_selector": told["data_selector"]}}]})
pipeline = dlt.pipeline("bench", destination=dlt.destinations.duckdb("deals.duckdb"), dataset_name="crm", pipelines_dir="work")
pipeline.run(source).raise_on_failed_jobs()
with pipeline.sql_client() as client:
    count = client.execute_sql("SELECT count(*) FROM deals")[0][0]
own, more = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
cpu = own.ru_utime + own.ru_stime + more.ru_utime + more.ru_stime
print(json.dumps({"rows": count, "cpu": cpu, "wall": time.perf_counter() - began, "mb": own.ru_maxrss / 1024, "tap": 0}))
"""


def dlt(name: str, deals: int) -> dict[str, Any]:
    """What dlt takes for the same deals."""
    python = environment()
    with tempfile.TemporaryDirectory() as folder, served(name, deals) as options:
        token = options.get("token") or logged_in(options)
        told = {**DLT[name], "base_url": f"{options['base_url']}/", "token": token}
        env = {**os.environ, "RUNTIME__DLTHUB_TELEMETRY": "false", "HOME": folder}
        command = [str(python), "-c", PIPELINE, json.dumps(told)]
        done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"dlt failed:\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if found["rows"] != deals:
        sys.exit(f"dlt stored {found['rows']:,} of {deals:,} deals")
    return found


def logged_in(options: Mapping[str, Any]) -> str:
    """A token of the fake of Salesforce, or of Microsoft's."""
    import requests

    form = {name: options[name] for name in ("client_id", "client_secret")} | {"grant_type": "client_credentials"}
    place, scope = ("/services/oauth2/token", {})
    if "tenant" in options:
        place, scope = f"/{options['tenant']}/oauth2/v2.0/token", {"scope": f"{options['base_url']}/.default"}
    return str(requests.post(options["base_url"] + place, data=form | scope, timeout=30).json()["access_token"])


def environment() -> Path:
    """The Python that has dlt."""
    home = Path(os.environ.get("KPID_DLT") or Path(tempfile.gettempdir()) / "kpid-dlt")
    if not (home / "bin" / "dlt").exists():
        print(f"installing {PACKAGE} into {home} ...")
        venv.create(home, with_pip=True)
        subprocess.run([home / "bin" / "pip", "install", "--quiet", PACKAGE], check=True)
    return home / "bin" / "python"


if __name__ == "__main__":
    sys.exit(main())
