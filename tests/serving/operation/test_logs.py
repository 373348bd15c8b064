"""What strangers can make a server write: little, one form of line, and nothing that they sent."""

import json
import logging
import signal
import socket
from contextlib import suppress

import pytest
from access import Authority
from operating import GET
from raw_http2 import RawCaller, frame, header, headers
from waiting import until

from serving.operation.logs import GrpcFilter, LineBudget


def written(server):
    """The lines of a server, to its end."""
    assert server.kill(signal.SIGTERM) == 0
    server.reader.join(20)
    return [json.loads(line) for line in server.lines]


def test_headers_that_are_no_text_are_not_shown(own_home, publish_to, spawn):
    publish_to(0)
    server = spawn(own_home, "--log-format", "json")
    caller = RawCaller(server.address)
    wrong = header("authorization", b"Bearer surgecast_s3cret\xff")
    for stream in range(1, 121, 2):
        caller.socket.sendall(frame(1, 4, stream, headers(GET) + wrong))
    until(lambda: any("Invalid encoding" in line for line in server.lines))
    caller.close()
    lines = [line for line in written(server) if line["logger"].startswith("grpc")]
    assert {line["message"] for line in lines} == {"Invalid encoding on …"}
    assert not any("s3cret" in line or "Traceback" in line for line in server.lines)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_nothing_is_written_of_handshakes_that_fail(
    own_home, publish_to, spawn, tmp_path, monkeypatch, workers
):
    monkeypatch.delenv("GRPC_VERBOSITY", raising=False)  # which commands that ask set in this process
    publish_to(0)
    cert, key = Authority(tmp_path, "authority").issue("server")
    own_home.settings_file.write_text(f'[serve]\ntls_cert = "{cert}"\ntls_key = "{key}"\n')
    server = spawn(own_home, "--workers", workers, "--log-format", "json")
    for _ in range(10):
        with socket.create_connection(("127.0.0.1", server.ready["port"]), timeout=10) as stranger:
            stranger.sendall(b"GET / HTTP/1.0\r\n\r\n" * 10)
            with suppress(ConnectionResetError):
                stranger.recv(1_000)  # an alert, or the end: the server has seen it
    assert all(line["message"] for line in written(server))


@pytest.mark.parametrize("name", ["grpc._server", "surgecast.calls"])
def test_a_flood_of_lines_of_grpc_is_cut_off(name):
    now = [100.0]
    keep = GrpcFilter(LineBudget(2, clock=lambda: now[0])).filter

    def record():
        return logging.LogRecord(name, logging.ERROR, __file__, 1, "it failed", (), None)

    ours = name == "surgecast.calls"
    assert [keep(record()) for _ in range(3)] == [True, True, ours]
    now[0] += 1
    last = record()
    assert keep(last)
    assert getattr(last, "unlogged", None) == (None if ours else 1)
