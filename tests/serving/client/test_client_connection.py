"""How a client speaks with a server: encryption, tokens, deadlines, repetitions and errors."""

import asyncio
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from certificates import Authority
from google.rpc import code_pb2
from planner_server import full, refusal, serve

from forecast.errors import BusyError, InputError, SurgecastError, UsageError
from serving.client import AsyncClient, Client
from serving.client.connection import Connection

KEY = {"item": "i", "location": "L", "platform": "P"}


@pytest.fixture(params=["threads", "asyncio"])
def ask(request):
    """Asks for one forecast with either client."""

    def with_threads(address, **options):
        with Client(address, **options) as client:
            return client.forecast(**KEY)

    def with_asyncio(address, **options):
        async def asked():
            async with AsyncClient(address, **options) as client:
                return await client.forecast(**KEY)

        return asyncio.run(asked())

    return with_threads if request.param == "threads" else with_asyncio


def test_a_full_server_is_asked_again_when_it_says(ask, planner, address):
    planner.refusals = [full(0.15), full(0.05)]
    begun = time.monotonic()
    assert ask(address).key.item == "i"
    assert time.monotonic() - begun >= 0.15 + 2 * 0.05
    assert len(planner.requests) == 3


def test_a_full_server_that_says_nothing_is_asked_again(ask, planner, address):
    planner.refusals = [full()]
    assert ask(address).key.item == "i"


def test_no_more_than_four_times(ask, planner, address):
    planner.refusals = [full(0.001)] * 9
    with pytest.raises(BusyError, match=r"expected room for the call, found none \(full\)"):
        ask(address)
    assert len(planner.requests) == 4


def test_a_delay_beyond_the_deadline_is_not_waited_for(ask, planner, address):
    planner.refusals = [full(30)]
    begun = time.monotonic()
    with pytest.raises(BusyError):
        ask(address, timeout_s=2)
    assert time.monotonic() - begun < 2
    assert len(planner.requests) == 1


def test_a_server_that_is_away_for_a_moment_is_asked_again(ask, planner, address):
    planner.refusals = [refusal(code_pb2.UNAVAILABLE, "restarting")] * 2
    assert ask(address).key.item == "i"
    assert len(planner.requests) == 3


@pytest.mark.parametrize("options", [{}, {"timeout_s": 0.3}])
def test_calls_end_at_their_deadline(planner, address, options):
    planner.held = threading.Event()
    try:
        with Client(address, timeout_s=20 if options else 0.3) as client:
            begun = time.monotonic()
            with pytest.raises(BusyError, match="none before the deadline"):
                client.forecast(**KEY, **options)
            assert time.monotonic() - begun < 10
    finally:
        planner.held.set()


@pytest.mark.parametrize(
    ("code", "kind", "said"),
    [
        (code_pb2.UNAUTHENTICATED, InputError, "a token or certificate that it knows"),
        (code_pb2.PERMISSION_DENIED, InputError, "somebody who may call this"),
        (code_pb2.CANCELLED, BusyError, "cancelled"),
        (code_pb2.UNIMPLEMENTED, InputError, "an older release"),
        (code_pb2.INTERNAL, SurgecastError, "INTERNAL: why"),
    ],
)
def test_failures_say_what_they_are(ask, planner, address, code, kind, said):
    planner.refusals = [refusal(code, "why")]
    with pytest.raises(kind, match=said) as caught:
        ask(address)
    assert address in str(caught.value)
    assert "why" in str(caught.value)
    assert len(planner.requests) == 1


def test_a_server_of_an_older_release_is_said_to_be_one():
    server = grpc.server(None)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with Client(f"127.0.0.1:{port}") as client, pytest.raises(InputError, match="one of an older release"):
        client.aggregate()
    server.stop(None).wait()


def test_tokens_go_along_with_every_call(ask, planner, address, monkeypatch):
    monkeypatch.setenv("SURGECAST_TOKEN", "from-outside\n")
    ask(address)
    ask(address, token="given")
    monkeypatch.delenv("SURGECAST_TOKEN")
    ask(address)
    assert [sent.get("authorization") for sent in planner.metadata] == [
        "Bearer from-outside",
        "Bearer given",
        None,
    ]


def test_a_token_is_not_shown():
    assert "secret" not in repr(Connection(token="secret"))


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def secured(planner, models, authority):
    """The address of a server with a certificate, which asks for one."""
    own = authority.issue("server")
    pairs = [(own.key.read_bytes(), own.cert.read_bytes())]
    root = authority.ca.read_bytes()
    credentials = grpc.ssl_server_credentials(pairs, root, require_client_auth=True)
    server, at = serve(planner, models, credentials)
    yield at
    server.stop(None).wait()


def test_both_sides_show_certificates(ask, secured, authority, planner):
    mine = authority.issue("planner")
    assert ask(secured, ca=authority.ca, cert=str(mine.cert), key=mine.key, token="t").key.item == "i"
    assert planner.metadata[0]["authorization"] == "Bearer t"


def test_a_certificate_of_a_stranger_is_not_believed(ask, secured, authority, tmp_path):
    mine = authority.issue("planner")
    with pytest.raises(BusyError, match="its certificate is vouched for by others"):
        ask(secured, ca=Authority(tmp_path, "others").ca, cert=mine.cert, key=mine.key, timeout_s=5)
    with pytest.raises(BusyError, match="asks for a certificate"):
        ask(secured, ca=authority.ca, timeout_s=5)


def test_one_side_that_does_not_encrypt_is_told_from_none_at_all(ask, secured, address, authority):
    with pytest.raises(BusyError, match="it does not encrypt: --insecure"):
        ask(address, ca=authority.ca, timeout_s=5)
    with pytest.raises(BusyError, match="perhaps it encrypts"):
        ask(secured, timeout_s=5)


def test_nothing_goes_to_another_machine_in_the_clear():
    here = ("127.0.0.1:1", "localhost:1", "[::1]:1", "127.1.2.3:1")
    there = ("10.0.0.5:50051", "planner.example:443", "0.0.0.0:1", "[fe80::1]:1", "localhost.evil.example:1")
    assert [Connection(address=one).encrypted for one in here] == [False] * len(here)
    assert [Connection(address=one).encrypted for one in there] == [True] * len(there)
    assert all(Connection(address=one).credentials() is not None for one in there)
    assert not Connection(address=there[0], insecure=True).encrypted
    assert Connection(address=here[0], ca="ca.pem").encrypted


def test_what_another_machine_would_read_is_no_token():
    """A listener that is not known to be local reads the beginning of a handshake."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)
        port = listener.getsockname()[1]
        with Client(f"0.0.0.0:{port}", token="secret-token", timeout_s=3) as client:
            assert client.connection.encrypted
            with ThreadPoolExecutor(1) as pool:
                asked = pool.submit(client.serving_model)
                peer, _ = listener.accept()
                with peer:
                    sent = peer.recv(65_536)
                assert isinstance(asked.exception(20), BusyError)
    assert sent[0] == 0x16  # the first byte of a TLS handshake
    assert b"secret-token" not in sent


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"address": "nowhere"}, "HOST:PORT"),
        ({"address": "h:99999"}, "HOST:PORT"),
        ({"timeout_s": 0}, "more than 0 seconds"),
        ({"timeout_s": float("nan")}, "more than 0 seconds"),
        ({"cert": "a.pem"}, "both files or none"),
        ({"insecure": True, "ca": "a.pem"}, "insecure: expected without ca"),
        ({"token": "two words"}, "token: expected printable ASCII"),
        ({"token": "Zürich"}, "token: expected printable ASCII"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, said):
    with pytest.raises(UsageError, match=said):
        Client(**options)


def test_files_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.pem: expected a readable PEM file"):
        Client(ca=tmp_path / "none.pem")


def test_asyncio_needs_its_loop():
    with pytest.raises(UsageError, match="a running event loop"):
        AsyncClient()
