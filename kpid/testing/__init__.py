"""The public test kit for plugin authors: a clock, a server to talk to, and the contracts that every plugin must keep.

Imports nothing but kpid's plugin side; pytest is only needed to run the contracts.
"""

from kpid.testing import faults
from kpid.testing.api import Answer, FakeApi, Request
from kpid.testing.clock import FakeClock

__all__ = ["Answer", "FakeApi", "FakeClock", "Request", "faults"]
