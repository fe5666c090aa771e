"""The rules of the house that an import linter cannot see: one door per library, plugins by the public door, no clock reads."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CORE = sorted(path for path in (ROOT / "kpid").rglob("*.py") if "versions" not in path.parts)
PLUGINS = sorted((ROOT / "plugins").rglob("*.py"))
DOORS = {
    "requests": {"kpid/plugin/http.py"},
    "apscheduler": {"kpid/timing.py"},
    "pluggy": {"kpid/plugin/hooks.py", "kpid/registry/finding.py"},
    "jinja2": {"kpid/reporting/render.py"},
    "duckdb": {"kpid/warehouse/duckdb.py"},
    "pyspark": {"kpid/warehouse/spark.py"},
    "chdb": {"kpid/warehouse/clickhouse.py"},
    "clickhouse_connect": {"kpid/warehouse/clickhouse.py"},
    "cryptography": {"kpid/plugin/jwt.py"},
    "resvg_py": {"kpid/reporting/raster.py", "kpid/reporting/charts.py"},
    "css_inline": {"kpid/reporting/render.py"},
    "holidays": {"kpid/analysis/public_holidays.py"},
    "cronsim": {"kpid/analysis/schedule.py"},
    "typer": {"kpid/cli"},
    "rich": {"kpid/cli"},
}
CLOCK_CALLS = {"now", "utcnow", "today", "time", "monotonic", "sleep", "perf_counter", "time_ns"}
CLOCK_OWNERS = {"datetime", "date", "time", "datetime.datetime", "datetime.date"}


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def _imports(path: Path) -> tuple[str, ...]:
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    plain = (alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names)
    parts = (node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level)
    return (*plain, *parts)


@pytest.mark.parametrize("library", sorted(DOORS))
def test_a_library_has_one_door(library: str) -> None:
    users = {_name(path) for path in CORE if any(name.split(".")[0] == library for name in _imports(path))}
    strays = {user for user in users if not any(user == door or user.startswith(f"{door}/") for door in DOORS[library])}
    assert not strays, f"{library} is imported by {strays}; its door is {DOORS[library]}"


def test_the_core_names_no_plugin() -> None:
    offenders = {_name(path): name for path in CORE for name in _imports(path) if name.startswith("kpid_")}
    assert not offenders


def test_a_plugin_uses_the_public_door_only() -> None:
    offenders = {
        _name(path): name
        for path in PLUGINS
        for name in _imports(path)
        if name.split(".")[0] == "kpid" and name != "kpid.plugin" and not name.startswith("kpid.plugin.entities")
    }
    assert not offenders


def test_no_plugin_imports_another() -> None:
    for path in PLUGINS:
        own = next(part for part in path.relative_to(ROOT).parts if part.startswith("kpid_")).removesuffix(".py")
        others = {name.split(".")[0] for name in _imports(path) if name.startswith("kpid_")} - {own}
        assert not others, f"{_name(path)} imports {others}"


def test_only_clock_reads_the_time() -> None:
    offenders = []
    for path in [*CORE, *PLUGINS]:
        if _name(path) == "kpid/clock.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            if node.func.attr in CLOCK_CALLS and ast.unparse(node.func.value) in CLOCK_OWNERS:
                offenders.append(f"{_name(path)}:{node.lineno} {ast.unparse(node.func)}")
    assert not offenders


def test_importing_runs_nothing() -> None:
    """A module defines; it does not do. Decorators, constants and ``if __name__`` are all that runs."""
    offenders = [
        f"{_name(path)}:{node.lineno} {ast.unparse(node.value)[:60]}"
        for path in [*CORE, *PLUGINS]
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    ]
    assert not offenders


def test_modules_and_functions_stay_readable() -> None:
    long_modules = {_name(path): n for path in [*CORE, *PLUGINS] if (n := len(path.read_text().splitlines())) > 350}
    assert not long_modules, "over 350 lines"
    long_functions = []
    for path in [*CORE, *PLUGINS]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                first = node.body[0]
                described = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
                start = (first.end_lineno or first.lineno) if described else node.lineno
                if (node.end_lineno or node.lineno) - start > 50:
                    long_functions.append(f"{_name(path)}:{node.lineno} {node.name}")
    assert not long_functions, "over 50 lines"


def test_catching_everything_is_rare() -> None:
    """Round a plugin call, round a job, at the top of the command line; a reason stands beside each."""
    catches = [
        f"{_name(path)}:{node.lineno}"
        for path in [*CORE, *PLUGINS]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ExceptHandler) and (node.type is None or ast.unparse(node.type) in {"Exception", "BaseException"})
    ]
    lines = sum(len(path.read_text().splitlines()) for path in [*CORE, *PLUGINS])
    assert len(catches) <= lines / 1000 + 6, catches


def test_tests_do_not_patch_our_own_code() -> None:
    words = ("mock" + ".patch", "monkeypatch" + '.setattr("kpid', "monkeypatch" + ".setattr(kpid")
    offenders = [_name(path) for path in (ROOT / "tests").rglob("*.py") if any(word in path.read_text() for word in words)]
    assert not offenders


def test_the_layers_hold() -> None:
    tool = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([tool, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
