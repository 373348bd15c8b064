"""A real server process on a chain of shops, what it should answer, and answers without a server."""

import math
from dataclasses import dataclass

import grpc
import numpy as np
import pytest
from chain import make_chain
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from surgecast.v1 import forecast_pb2 as pb

from forecast.home import Home
from forecast.snapshot import Snapshot, move_pointer, write_snapshot
from serving.call import Call
from serving.live.engine import LiveConfig, LiveEngine
from serving.methods import all_methods
from serving.store import SnapshotStore

SERVICE = "/surgecast.v1.ForecastService/"


@dataclass
class Asker:
    """Sends requests to a server."""

    channel: grpc.Channel

    def __call__(self, method, request):
        content = self.channel.unary_unary(SERVICE + method)(request.SerializeToString(), timeout=20)
        return getattr(pb, method + "Response").FromString(content)

    def pieces(self, request):
        call = self.channel.unary_stream(SERVICE + "ExportForecasts")(request.SerializeToString(), timeout=20)
        return [pb.ExportForecastsResponse.FromString(content) for content in call]

    def refusal(self, method, request):
        """Code and field of a call that must fail."""
        ask = self.pieces if method == "ExportForecasts" else lambda request: self(method, request)
        with pytest.raises(grpc.RpcError) as caught:
            ask(request)
        info = error_details_pb2.ErrorInfo()
        details = rpc_status.from_call(caught.value).details
        assert any(detail.Unpack(info) for detail in details)
        return caught.value.code(), info.metadata["field"]


@pytest.fixture(scope="module")
def publication():
    return make_chain()


@pytest.fixture(scope="module")
def ask(server):
    with grpc.insecure_channel(server.address) as channel:
        yield Asker(channel)


@pytest.fixture(scope="module")
def snapshot(home, server):
    (folder,) = home.snapshots_dir.glob("2*")
    return Snapshot.open(folder)


@pytest.fixture(scope="module")
def scenarios_SHK(snapshot):
    return snapshot.scenarios(np.arange(len(snapshot.keys))).astype(np.float64)


@pytest.fixture
def waiting():
    """The call of somebody who waits for ever."""
    return Call(remaining=lambda: math.inf, active=lambda: True)


@pytest.fixture(scope="module")
def answer_from(tmp_path_factory):
    """The methods by name, answering in this process from a publication."""

    def begin(publication):
        home = Home(tmp_path_factory.mktemp("home"))
        snapshot = write_snapshot(
            home, publication.forecasts, publication.panel, bundle_id="b", model_version="1"
        )
        move_pointer(home, snapshot)
        store = SnapshotStore(home)
        store.load()
        engine = LiveEngine(home, LiveConfig(on=False), lambda _ready: None)
        return {method.name: method.stream or method.answer for method in all_methods(store, engine)}

    return begin
