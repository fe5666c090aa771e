"""Alerting beside Prometheus and Alertmanager, on one machine in one run: ``python -m tests.bench.bench_alerting_peers``.

The peers are Debian's packages (``apt-get install prometheus prometheus-alertmanager``); where they are not installed, what was
measured before on two cores is printed, and said to be so. Everything listens on loopback, and ends with its part.
"""

from __future__ import annotations

import json
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
from kpid_webhook import Webhook, WebhookSettings

from kpid.alerting.evaluate import AlertingSetup, evaluate_rules
from kpid.alerting.rules import need_of
from kpid.clock import SystemClock
from kpid.config.alerting import Route
from kpid.config.model import Receiver, Rule
from kpid.delivery.dispatch import deliver_due
from kpid.model import Measurement, MeasurementState, Segment
from kpid.plugin import NotifierContext
from kpid.reporting.render import Renderer, shipped_templates
from kpid.store import history
from kpid.store.engine import Store
from tests.alerting.world import CALENDAR, WIN_RATE, rule, week
from tests.bench.sink import running_sink

RENDERER = Renderer(shipped_templates(), {}, CALENDAR)
MANY, FEW, TESTS = 10_000, 1_000, 1_000
PATIENCE = 90
BEFORE = {
    "1 rule over 10,000 series": "0.18-0.60 s",
    "10,000 rules": "1.3-2.4 s",
    "1,000 rules": "0.14-0.19 s",
    "10,000 alerts, one by one": "2.5-4.2 s, 196-222 MiB",
    "1,000 alerts, one by one": "0.28-0.37 s, 55-64 MiB",
    "1,000 rule tests": "23.6 s",
}
"""The peers' figures of an earlier day (Prometheus 2.42, Alertmanager 0.25, two cores)."""


def binary(name: str) -> str | None:
    """Where a peer's program is, if it is installed."""
    return shutil.which(name)


def say(who: str, what: str, figure: str) -> None:
    """A line of the table."""
    print(f"{who:14} {what:34} {figure}", flush=True)


def known(what: str, name: str) -> None:
    """What a peer that is not here once needed."""
    say(name, what, f"{BEFORE.get(what, 'never measured')} (not installed: an earlier measurement)")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Company(ThreadingHTTPServer):
    """Gives figures to Prometheus, and takes what webhooks bring. Counts the alerts and requests that arrive."""

    daemon_threads = True
    request_queue_size = 512

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.lock = threading.Lock()
        self.alerts = self.requests = 0
        self.last = 0.0
        lines = (f'win_rate{{owner="{number}"}} 0.24\n' for number in range(MANY))
        self.figures = ("# TYPE win_rate gauge\n" + "".join(lines)).encode()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def took(self, alerts: int) -> None:
        with self.lock:
            self.alerts += alerts
            self.requests += 1
            self.last = time.perf_counter()

    def forget(self) -> None:
        with self.lock:
            self.alerts = self.requests = 0


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Company

    def do_GET(self) -> None:
        self._answer(self.server.figures)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.took(len(body.get("alerts", ())) or 1)
        self._answer(b"")

    def _answer(self, body: bytes) -> None:
        self.send_response_only(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def company() -> Iterator[Company]:
    """The server, for the length of the block."""
    server = Company()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def running(command: list[str], ready: str, folder: Path) -> Iterator[psutil.Process]:
    """A peer as a process of its own, from when it is ready until the block ends."""
    with (folder / "log").open("ab") as log, subprocess.Popen(command, cwd=folder, stdout=log, stderr=log) as process:
        try:
            wait_until(lambda: _get(ready) is not None or process.poll() is not None)
            if process.poll() is not None:
                raise SystemExit(f"{command[0]} ended: {(folder / 'log').read_text(errors='replace')[-600:]}")
            yield psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait(30)


def wait_until(holds: Callable[[], object]) -> bool:
    """Look until it holds, or patience is at an end."""
    end = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def _get(url: str) -> str | None:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return str(answer.read().decode())
    except (urllib.error.URLError, OSError):
        return None


# ---- Prometheus: how long a round of rules takes


def rules_of(count: int, by_series: bool) -> str:
    """Rules for Prometheus: one over all series, or one per series."""
    groups = ['groups:\n  - name: "bench"\n    interval: 5s\n    rules:\n']
    if not by_series:
        groups.append('      - {alert: Low, expr: "win_rate < 0.25", labels: {team: sales}}\n')
    else:
        groups += [f'      - {{alert: Low{n}, expr: "win_rate{{owner=\\"{n}\\"}} < 0.25"}}\n' for n in range(count)]
    return "".join(groups)


def prometheus(what: str, rules: str, alerts: int) -> None:
    """Rounds of evaluation, as Prometheus measures them itself, after all series have been scraped and all alerts fire."""
    program = binary("prometheus")
    if program is None:
        known(what, "Prometheus")
        return
    with tempfile.TemporaryDirectory() as name, company() as figures:
        folder, port = Path(name), free_port()
        (folder / "rules.yml").write_text(rules, encoding="utf-8")
        (folder / "prometheus.yml").write_text(
            "global: {scrape_interval: 5s, evaluation_interval: 5s}\n"
            "rule_files: [rules.yml]\n"
            f"scrape_configs: [{{job_name: crm, static_configs: [{{targets: ['127.0.0.1:{figures.server_port}']}}]}}]\n",
            encoding="utf-8",
        )
        address = f"127.0.0.1:{port}"
        command = [program, "--config.file=prometheus.yml", "--storage.tsdb.path=data", f"--web.listen-address={address}"]
        with running(command, f"http://{address}/-/ready", folder) as process:
            took = list(_rounds(f"http://{address}/metrics", f"http://{address}/api/v1/query?query=count(ALERTS)", alerts))
            memory = process.memory_info().rss // 2**20
        figure = f"{min(took):.2f}-{max(took):.2f} s, {memory} MiB" if took else "did not fire in time"
        say("Prometheus", what, figure)


def _rounds(metrics: str, firing: str, alerts: int) -> Iterator[float]:
    """Three rounds with every alert firing."""
    if not wait_until(lambda: f'"{alerts}"' in (_get(firing) or "")):
        return
    last = ""
    for _ in range(3):
        wait_until(lambda seen=last: _sample(metrics, "prometheus_rule_group_last_evaluation_timestamp_seconds") != seen)  # type: ignore[misc]
        last = _sample(metrics, "prometheus_rule_group_last_evaluation_timestamp_seconds")
        yield float(_sample(metrics, "prometheus_rule_group_last_duration_seconds"))


def _sample(metrics: str, name: str) -> str:
    lines = (_get(metrics) or "").splitlines()
    return next((line.rpartition(" ")[2] for line in lines if line.startswith(name + "{")), "")


# ---- Alertmanager: how long until a webhook has everything


def alertmanager(what: str, count: int, group_by: str, wait: str) -> None:
    """Time from the first alert posted until the webhook has the last."""
    program = binary("prometheus-alertmanager")
    if program is None:
        known(what, "Alertmanager")
        return
    with tempfile.TemporaryDirectory() as name, company() as sink:
        folder, address = Path(name), f"127.0.0.1:{free_port()}"
        (folder / "am.yml").write_text(
            f"route: {{receiver: hook, group_by: [{group_by}], group_wait: {wait}, group_interval: 5m, repeat_interval: 1d}}\n"
            f"receivers: [{{name: hook, webhook_configs: [{{url: '{sink.url}/'}}]}}]\n",
            encoding="utf-8",
        )
        command = [program, "--config.file=am.yml", "--storage.path=data", f"--web.listen-address={address}"]
        command.append("--cluster.listen-address=")
        with running(command, f"http://{address}/-/ready", folder) as process:
            started = time.perf_counter()
            _post(address, count)
            whole = wait_until(lambda: sink.alerts >= count)
            memory = process.memory_info().rss // 2**20
        took = sink.last - started
        figure = f"{took:.2f} s ({count / took:,.0f}/s in {sink.requests:,} requests), {memory} MiB"
        say("Alertmanager", what, figure if whole else f"only {sink.alerts:,} arrived in {PATIENCE} s")


def _post(address: str, count: int) -> None:
    end = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    for first in range(0, count, 1000):
        alerts = [
            {
                "labels": {"alertname": "Low", "owner": str(number), "team": "sales"},
                "annotations": {"summary": f"Win rate of seller {number} is 24%, threshold 25%"},
                "endsAt": end,
            }
            for number in range(first, min(count, first + 1000))
        ]
        request = urllib.request.Request(
            f"http://{address}/api/v2/alerts", json.dumps(alerts).encode(), {"Content-Type": "application/json"}
        )
        urllib.request.urlopen(request, timeout=30).read()


# ---- promtool and `kpid test`: a thousand tests of a rule


def promtool(what: str) -> None:
    """``promtool test rules`` over as many tests."""
    program = binary("promtool")
    if program is None:
        known(what, "promtool")
        return
    test = (
        "  - interval: 1m\n    input_series: [{series: 'win_rate{owner=\"ana\"}', values: '0.31 0.24x2 0.19 0.35 0.30 0.30'}]\n"
        "    alert_rule_test: [{eval_time: 2m, alertname: Low, exp_alerts: [{exp_labels: {owner: ana, team: sales}}]}]\n"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "rules.yml").write_text(rules_of(1, by_series=False), encoding="utf-8")
        (folder / "tests.yml").write_text("rule_files: [rules.yml]\ntests:\n" + test * TESTS, encoding="utf-8")
        say("promtool", what, timed([program, "test", "rules", "tests.yml"], folder))


def kpid_tests(what: str) -> None:
    """The same by ``kpid test``, as a process of its own."""
    rule = "rules: [{name: low, kpi: close_rate, period: week, by: [owner], warn: '< 25%', for: 2x, to: [team]}]\n"
    test = (
        "    rule: low\n    start: 2026-01-05\n    series: [{owner: ana, value: 0.31 0.24 0.19x2 0.35 0.30x2, n: 400}]\n"
        "    expect: {2: {ana: pending warn}, 3: {ana: firing warn}}\n"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "rules.yml").write_text(rule, encoding="utf-8")
        tests = "".join(f"  - name: test {number}\n{test}" for number in range(TESTS))
        (folder / "tests.yml").write_text("rules: [rules.yml]\ntests:\n" + tests, encoding="utf-8")
        say("kpid test", what, timed([sys.executable, "-m", "kpid", "test", "tests.yml"], folder))


def timed(command: list[str], folder: Path) -> str:
    """How long a program takes that has to end well, and how much of a processor."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    took, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return f"{took:.1f} s, {used:.1f} s CPU" if done.returncode == 0 else f"failed: {done.stdout[-300:]} {done.stderr[-300:]}"


def kpid_webhook(what: str, count: int, group_by: tuple[str, ...]) -> None:
    """A rule over so many series that all begin to fire: time until the webhook has them, from when judging began.

    The webhook is a process of its own, as it is for Alertmanager.
    """
    with tempfile.TemporaryDirectory() as name, running_sink() as sink:
        one, receiver = rule(), Receiver(notifier="webhook")
        route = Route.model_validate({"to": ["hook"], "group_by": group_by, "group_wait": "0s"})
        store = Store(f"sqlite:///{name}/kpid.db")
        store.create()
        for number, won in ((2, 120), (3, 96)):
            _measured(store, one, number, count, won)
            context = NotifierContext("hook", Path(name), SystemClock())
            notifier = Webhook(WebhookSettings.model_validate({"url": sink.url}), context)
            setup = AlertingSetup(
                [one],
                {"win_rate": WIN_RATE},
                CALENDAR,
                {"hook": notifier.recipients()},
                RENDERER.alert,
                {},
                RENDERER.bundle,
                [route],
                pageless=frozenset() if notifier.shows_pages else frozenset({"hook"}),
            )
            started, cpu = time.perf_counter(), time.process_time()
            evaluate_rules(setup, store=store, now=week(number).end + timedelta(hours=1))
            judged, judging = time.perf_counter() - started, time.process_time() - cpu
            done = deliver_due(
                store=store, notifiers={"hook": notifier}, receivers={"hook": receiver}, clock=SystemClock(), owner="bench"
            )
            took, used = time.perf_counter() - started, time.process_time() - cpu
            notifier.close()
        store.close()
    assert sink.requests == sink.keys == done.sent
    rate = done.sent / max(took - judged, 0.001)
    sent = f"{took - judged:.2f} s, {used - judging:.2f} s CPU to deliver {done.sent:,} requests: {rate:,.0f}/s"
    say("kpid", what, f"{took:.2f} s, {used:.2f} s CPU ({judged:.2f} s, {judging:.2f} s CPU to judge, store and write; {sent})")


def _measured(store: Store, one: Rule, number: int, count: int, won: int) -> None:
    period, need = week(number), need_of(one, WIN_RATE)
    found = [
        Measurement(
            "win_rate", period, MeasurementState.OK, Decimal(won) / 400, 400, (Segment("owner", f"crm:{seller}", f"{seller}"),),
            numerator=Decimal(won), denominator=Decimal(400), as_of=period.end, data_through=period.end,
        )
        for seller in range(count)
    ]  # fmt: skip
    with store.write() as conn:
        history.append(conn, need, found, periods=[period], definition="d", now=period.end)
        history.save_family(conn, need, "d", 1, period.end)


def kpid_bench(module: str, *arguments: str) -> None:
    """A benchmark of kpid's own, in a process of its own: memory counts anew."""
    done = subprocess.run([sys.executable, "-m", module, *arguments], capture_output=True, text=True, check=False)
    for line in (done.stdout if done.returncode == 0 else done.stderr).splitlines()[-12:]:
        print(f"{'kpid':14} {line}", flush=True)


def main() -> None:
    """Both sides, one question after another."""
    print("Rounds of rules (Prometheus keeps the state in memory and a log that is not synced; kpid in a database, synced)")
    prometheus("1 rule over 10,000 series", rules_of(1, by_series=False), MANY)
    kpid_bench("tests.bench.bench_alerting", "series")
    prometheus("1,000 rules", rules_of(FEW, by_series=True), FEW)
    prometheus("10,000 rules", rules_of(MANY, by_series=True), MANY)
    kpid_bench("tests.bench.bench_alerting", "rules")
    print("\nFrom firing to the webhook (Alertmanager keeps notifications in memory; kpid notes each before it is sent)")
    alertmanager("1,000 alerts, one by one", FEW, "'...'", "0s")
    alertmanager("10,000 alerts, one by one", MANY, "'...'", "0s")
    alertmanager("10,000 alerts in one group, waits 1 s", MANY, "alertname", "1s")
    kpid_webhook("1,000 alerts, one by one", FEW, ("owner",))
    kpid_webhook("10,000 alerts, one by one", MANY, ("owner",))
    kpid_webhook("10,000 alerts in one group", MANY, ("rule",))
    print("\nTests of rules")
    promtool("1,000 rule tests")
    kpid_tests("1,000 rule tests")


if __name__ == "__main__":
    main()
