"""A gate before methods of the test's own, in this process."""

from contextlib import contextmanager

import grpc
import pytest
from access import Authority

from forecast.home import Home
from serving.access.admission import Bounds
from serving.access.callers import AccessConfig
from serving.access.gate import make_gate
from serving.interceptors import ErrorInterceptor


@pytest.fixture
def own_home(tmp_path):
    return Home(tmp_path)


@pytest.fixture
def gated(own_home):
    """Serve methods behind a gate: yields the gate, a channel and the address."""

    @contextmanager
    def serve(*methods, bounds=None, host="127.0.0.1", access=None):
        unheard = lambda _path, _error: None  # noqa: E731
        gate = make_gate(own_home, host, access or AccessConfig(), bounds or Bounds(), methods, unheard)
        server = grpc.server(gate.lanes["quick"].pool, interceptors=(gate, ErrorInterceptor()))
        for method in methods:
            if method.stream is not None:
                handler = grpc.unary_stream_rpc_method_handler(lambda c, x, m=method: m.stream(c, x))
            else:
                handler = grpc.unary_unary_rpc_method_handler(lambda c, x, m=method: m.answer(c, x))
            generic = grpc.method_handlers_generic_handler(method.service, {method.name: handler})
            server.add_generic_rpc_handlers((generic,))
        port = server.add_insecure_port("127.0.0.1:0")
        gate.start()
        server.start()
        try:
            with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
                yield gate, channel, f"127.0.0.1:{port}"
        finally:
            server.stop(0).wait()
            gate.close()

    return serve


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path, "authority")
