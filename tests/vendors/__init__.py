"""The benches of all connectors: each a fake of the vendor with the connector that reads it. One line for each."""

from kpid.testing import SourceBench
from tests.vendors.dynamics import DynamicsBench
from tests.vendors.easyerp import EasyErpBench
from tests.vendors.hubspot import HubSpotBench
from tests.vendors.salesforce import SalesforceBench
from tests.vendors.singer import SingerBench
from tests.vendors.weavy import WeavyBench

BENCHES: list[type[SourceBench]] = [
    HubSpotBench,
    DynamicsBench,
    SalesforceBench,
    WeavyBench,
    EasyErpBench,
    SingerBench,
]
