"""What a command does not need is not loaded: a list of messages is there in the time that it takes to read it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HEAVY = ("duckdb", "pyarrow", "jinja2", "alembic", "apscheduler", "kpid_hubspot", "kpid_sales", "kpid.metrics.measure")
CODE = f"""
import sys
from kpid.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code, end
print("loaded:", *(name for name in {HEAVY!r} if name in sys.modules))
"""


def test_a_list_of_messages_loads_neither_engines_nor_plugins(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    file = tmp_path / "kpid.yml"
    file.write_text("timezone: UTC\ncurrency: EUR\nsources: {crm: {connector: files, path: data, every: 1h}}\n")
    command = [sys.executable, "-c", CODE, "--config", str(file), "outbox", "list"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "loaded:"
