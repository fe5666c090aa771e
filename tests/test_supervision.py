"""Memory given back: nothing that is in use may be lost by it."""

from __future__ import annotations

import ctypes
import re
import sys
import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from kpid.supervision import ProgramCode, _unchanged_code, give_back_memory

SMAPS = f"""\
7f0000000000-7f0000002000 r--p 00000000 fd:00 11                         {sys.prefix}/with blank.so
Rss:                   8 kB
Anonymous:             0 kB
VmFlags: rd mr mw me
7f0000002000-7f0000004000 r-xp 00002000 fd:00 11                         {sys.prefix}/with blank.so
Rss:                   8 kB
Anonymous:             0 kB
7f0000004000-7f0000005000 r--p 00004000 fd:00 11                         {sys.prefix}/with blank.so
Rss:                   4 kB
Anonymous:             4 kB
7f0000005000-7f0000006000 rw-p 00005000 fd:00 11                         {sys.prefix}/with blank.so
Rss:                   0 kB
Anonymous:             0 kB
7f0000009000-7f000000a000 r-xp 00002000 fd:00 13                         /lib/libnss_example.so.2
Rss:                   8 kB
Anonymous:             0 kB
7f000000a000-7f000000b000 r--p 00000000 fd:00 14                         {sys.prefix}/table.parquet
Anonymous:             0 kB
7f0000006000-7f0000007000 r--s 00000000 fd:00 12                         /var/kpid.db-shm
Anonymous:             0 kB
7f0000007000-7f0000008000 r--p 00000000 00:00 0
Anonymous:             0 kB
7f0000008000-7f0000009000 r-xp 00000000 00:00 0                          [vdso]
Anonymous:             0 kB
"""


def test_only_unchanged_pages_of_modules_that_never_go_are_let_go():
    found = [line.split()[0] for line in _unchanged_code(SMAPS)]
    assert found == ["7f0000000000-7f0000002000", "7f0000002000-7f0000004000"]


def test_what_is_not_mapped_as_it_was_is_left_alone():
    """An address may hold something else by now: only what is mapped just as it was is touched."""
    code = ProgramCode()
    stays = ctypes.create_string_buffer(b"kept", 1 << 20)
    address = ctypes.addressof(stays) // 4096 * 4096 + 4096
    code._mapped |= {f"{address:x}-{address + 8192:x} r-xp 00000000 fd:00 11                         {sys.prefix}/gone.so"}
    ctypes.memset(address, 7, 8192)
    code.let_go()
    assert ctypes.string_at(address, 8192) == bytes([7]) * 8192


def resident_code() -> int:
    """kB of libraries that are in memory."""
    smaps = Path("/proc/self/smaps").read_text()
    return sum(map(int, re.findall(r"r-xp .*\.so.*\n(?:[A-Z].*\n)*?Rss: +(\d+) kB", smaps)))


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="this system does not tell what memory is used for")
def test_code_that_was_let_go_comes_back_by_itself_while_threads_run_it():
    code = ProgramCode()
    numbers = pa.array(range(10_000))
    sums: list[int] = []
    threads = [threading.Thread(target=lambda: sums.extend(pc.sum(numbers).as_py() for _ in range(200))) for _ in range(2)]
    before = resident_code()
    code.let_go()
    assert resident_code() < before
    for thread in threads:
        thread.start()
    for _ in range(50):
        code.let_go()
    for thread in threads:
        thread.join()
    assert set(sums) == {sum(range(10_000))}
    assert len(sums) == 400


def test_memory_that_is_in_use_stays():
    table = pa.table({"a": list(range(1000))})
    block = ctypes.create_string_buffer(b"kept", 1 << 20)
    give_back_memory()
    ProgramCode().let_go()
    assert table.column("a").to_pylist() == list(range(1000))
    assert block.value == b"kept"
