"""TLS of a real server process: encrypted, with tokens, with certificates of callers."""

import time

import grpc
import pytest
from access import Authority, bearer, refused, token
from grpc_health.v1 import health_pb2, health_pb2_grpc

from forecast.cli.main import run
from forecast.errors import UsageError
from forecast.snapshot import move_pointer, write_snapshot
from serving.access.tls import TlsFiles

SERVING = "/surgecast.v1.ModelService/GetServingModel"


@pytest.fixture
def published(own_home, publication):
    snapshot = write_snapshot(
        own_home, publication.forecasts, publication.panel, bundle_id="b1", model_version="3"
    )
    move_pointer(own_home, snapshot)
    return own_home


def settings(home, **paths):
    lines = [f'{name} = "{path}"' for name, path in paths.items()]
    home.settings_file.write_text("\n".join(["[serve]", *lines, ""]))


def secure(server, authority, pair=None):
    """A channel to the server; `pair` is the caller's own certificate and key."""
    own = (pair[1].read_bytes(), pair[0].read_bytes()) if pair else (None, None)
    credentials = grpc.ssl_channel_credentials(authority.file.read_bytes(), *own)
    return grpc.secure_channel(f"127.0.0.1:{server.ready['port']}", credentials)


def test_beyond_this_machine_it_takes_tls_and_a_token(published, authority, spawn):
    cert, key = authority.issue("server")
    settings(published, tls_cert=cert.name, tls_key=key)  # one in the home, one absolute
    text = token(published)
    server = spawn(published, "--host", "0.0.0.0")
    with secure(server, authority) as channel:
        ask = channel.unary_unary(SERVING)
        assert ask(b"", metadata=bearer(text), timeout=10)
        assert refused(ask, b"", timeout=10)[0] is grpc.StatusCode.UNAUTHENTICATED
        health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
        assert health.status == health_pb2.HealthCheckResponse.SERVING
    with grpc.insecure_channel(f"127.0.0.1:{server.ready['port']}") as plain:
        with pytest.raises(grpc.RpcError) as caught:
            plain.unary_unary(SERVING)(b"", metadata=bearer(text), timeout=10)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    with secure(server, Authority(published.root, "stranger")) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary(SERVING)(b"", metadata=bearer(text), timeout=10)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_callers_show_a_certificate_where_it_is_asked_for(published, authority, spawn):
    cert, key = authority.issue("server")
    settings(published, tls_cert=cert, tls_key=key, tls_client_ca=authority.file)
    server = spawn(published)
    with secure(server, authority, authority.issue("planner")) as channel:
        assert channel.unary_unary(SERVING)(b"", timeout=10)
    for pair in (None, Authority(published.root, "stranger").issue("stranger-planner")):
        with secure(server, authority, pair) as channel:
            with pytest.raises(grpc.RpcError) as caught:
                channel.unary_unary(SERVING)(b"", timeout=10)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    with secure(server, authority, authority.issue("planner-2")) as channel:
        assert channel.unary_unary(SERVING)(b"", timeout=10)


def test_a_renewed_certificate_is_used_without_a_restart(published, authority, spawn):
    cert, key = authority.issue("server")
    settings(published, tls_cert=cert, tls_key=key)
    server = spawn(published)
    with secure(server, authority) as channel:
        assert channel.unary_unary(SERVING)(b"", timeout=10)
    good = cert.read_bytes()
    cert.write_bytes(b"damaged")
    with secure(server, authority) as channel:
        assert channel.unary_unary(SERVING)(b"", timeout=10)
    end = time.monotonic() + 10
    while not any("goes on with the former certificate" in line for line in server.lines):
        assert time.monotonic() < end
    cert.write_bytes(good)
    other = Authority(published.root, "other")
    new_cert, new_key = other.issue("renewed")
    new_key.replace(key)
    new_cert.replace(cert)
    with secure(server, other) as channel:
        assert channel.unary_unary(SERVING)(b"", timeout=10)


def test_addresses_that_others_reach_need_protection(published, authority, capsys):
    home = ["--home", str(published.root), "--port", "0"]
    assert run(["serve", *home, "--host", "0.0.0.0"]) == 2
    assert "expected a loopback address, or TLS" in capsys.readouterr().err
    cert, key = authority.issue("server")
    settings(published, tls_cert=cert, tls_key=key)
    assert run(["serve", *home, "--host", "0.0.0.0"]) == 2
    assert "surgecast tokens add" in capsys.readouterr().err
    token(published)
    assert run(["serve", *home, "--no-tokens"]) == 2
    assert "--no-tokens: expected a home without tokens, found 1" in capsys.readouterr().err


def test_without_tokens_strangers_are_planners(published, authority, spawn):
    cert, key = authority.issue("server")
    settings(published, tls_cert=cert, tls_key=key)
    server = spawn(published, "--host", "0.0.0.0", "--no-tokens")
    with secure(server, authority) as channel:
        assert channel.unary_unary(SERVING)(b"", timeout=10)


def test_files_that_will_not_do_are_named(tmp_path, authority, capsys):
    cert, key = authority.issue("server")
    other_cert, other_key = authority.issue("other")
    garbage = tmp_path / "garbage.pem"
    garbage.write_bytes(b"\x00\xffno PEM")
    for files, said in (
        (TlsFiles(cert=tmp_path / "none", key=key), "serve.tls_cert: expected a readable file"),
        (TlsFiles(cert=cert, key=tmp_path), "serve.tls_key: expected a readable file"),
        (TlsFiles(cert=garbage, key=key), "serve.tls_cert: expected a PEM certificate"),
        (TlsFiles(cert=cert, key=garbage), "serve.tls_cert: expected a PEM certificate"),
        (TlsFiles(cert=cert, key=other_key), "found key values mismatch"),
        (TlsFiles(cert=cert, key=key, client_ca=garbage), "serve.tls_client_ca: expected PEM certificates"),
        (TlsFiles(cert=cert, key=key, client_ca=tmp_path / "no"), "serve.tls_client_ca: expected a readable"),
    ):
        with pytest.raises(UsageError, match=said):
            files.check()
    TlsFiles(cert=other_cert, key=other_key, client_ca=authority.file).check()


def test_half_of_the_files_is_refused(published, authority, capsys):
    cert, key = authority.issue("server")
    settings(published, tls_cert=cert)
    assert run(["serve", "--home", str(published.root)]) == 2
    assert "serve.tls_cert: expected tls_key too, found none" in capsys.readouterr().err
    settings(published, tls_client_ca=key)
    assert run(["serve", "--home", str(published.root)]) == 2
    assert "expected tls_cert and tls_key too" in capsys.readouterr().err
