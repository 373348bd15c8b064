"""A server that answers by hand, and a client of it."""

import pytest
from planner_server import address, models, planner

from serving.client import Client

__all__ = ["address", "client", "models", "planner"]


@pytest.fixture
def client(address):
    with Client(address) as connected:
        yield connected
