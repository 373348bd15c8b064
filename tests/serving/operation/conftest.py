"""A home of one's own, and what is published to it."""

import socket

import pytest

from forecast.home import Home
from forecast.snapshot import move_pointer, write_snapshot


@pytest.fixture
def own_home(tmp_path):
    return Home(tmp_path)


@pytest.fixture
def publish_to(own_home, make_publication):
    """Publish the forecasts of a seed, which is the model's version too; `move` false only writes them."""

    def publish(seed, *, move=True):
        forecasts, panel = make_publication(seed)
        snapshot = write_snapshot(own_home, forecasts, panel, bundle_id="b1", model_version=str(seed))
        if move:
            move_pointer(own_home, snapshot)
        return snapshot

    return publish


@pytest.fixture
def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]
