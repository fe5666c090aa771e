"""The public test kit for plugin authors: a clock, a server to talk to, and the contracts that every plugin must keep.

Imports nothing but kpid's plugin side; pytest is only needed to run the contracts.
"""

from kpid.testing import faults
from kpid.testing.api import Answer, FakeApi, Request
from kpid.testing.clock import FakeClock
from kpid.testing.connectors import ConnectorContract, SourceBench
from kpid.testing.expecting import expect, expect_error
from kpid.testing.memory import MemorySync
from kpid.testing.notifiers import NotifierBench, NotifierContract

__all__ = [
    "Answer",
    "ConnectorContract",
    "FakeApi",
    "FakeClock",
    "MemorySync",
    "NotifierBench",
    "NotifierContract",
    "Request",
    "SourceBench",
    "expect",
    "expect_error",
    "faults",
]
