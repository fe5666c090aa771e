"""The public test kit for plugin authors: a clock, a server to talk to, and the contracts that every plugin must keep.

Imports nothing but kpid's plugin side; pytest is only needed to run the contracts. Random walks need the stores too: they are
imported when they are asked for, and so is what the stores hold (``StoredContract``).
"""

from typing import TYPE_CHECKING, Any

from kpid.testing import faults
from kpid.testing.api import Answer, FakeApi, Request
from kpid.testing.bench import Scene, SourceBench, expect_able
from kpid.testing.clock import FakeClock
from kpid.testing.connectors import ConnectorContract
from kpid.testing.crm import Crm
from kpid.testing.crm_bench import CrmBench
from kpid.testing.expecting import expect, expect_error
from kpid.testing.memory import MemorySync
from kpid.testing.notifiers import NotifierBench, NotifierContract
from kpid.testing.vendor import VendorApi

if TYPE_CHECKING:
    from kpid.testing.contract_stored import StoredContract
    from kpid.testing.walks import Walk, WalkContract

__all__ = [
    "Answer",
    "ConnectorContract",
    "Crm",
    "CrmBench",
    "FakeApi",
    "FakeClock",
    "MemorySync",
    "NotifierBench",
    "NotifierContract",
    "Request",
    "Scene",
    "SourceBench",
    "StoredContract",
    "VendorApi",
    "Walk",
    "WalkContract",
    "expect",
    "expect_able",
    "expect_error",
    "faults",
]


def __getattr__(name: str) -> Any:
    if name in {"StoredContract", "Walk", "WalkContract"}:
        from kpid.testing import contract_stored, walks  # noqa: PLC0415  bring the stores along

        return getattr(contract_stored if name == "StoredContract" else walks, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
