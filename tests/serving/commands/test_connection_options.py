"""How commands reach a server: flags, settings and the environment."""

import subprocess
import sys

import grpc
import pytest
from certificates import Authority
from planner_server import serve

from forecast.cli.main import run


@pytest.fixture
def home(tmp_path):
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def secured(planner, models, home):
    """A server with a certificate, which asks for one; the home holds those of a planner."""
    authority = Authority(home)
    own, mine = authority.issue("server"), authority.issue("planner")
    pairs = [(own.key.read_bytes(), own.cert.read_bytes())]
    credentials = grpc.ssl_server_credentials(pairs, authority.ca.read_bytes(), require_client_auth=True)
    server, at = serve(planner, models, credentials)
    yield at, authority.ca, mine
    server.stop(None).wait()


def test_flags_name_certificates_and_a_token(secured, planner, home, tmp_path):
    address, ca, mine = secured
    token = tmp_path / "token"
    token.write_text("surgecast_abc\n")
    tls = ("--ca", str(ca), "--cert", str(mine.cert), "--key", str(mine.key))
    assert run(["aggregate", "--address", address, *tls, "--token-file", str(token)]) == 0
    assert planner.metadata[0]["authorization"] == "Bearer surgecast_abc"


def test_settings_do(secured, planner, home):
    address, ca, mine = secured
    (home / "token").write_text("surgecast_def")
    (home / "surgecast.toml").write_text(
        f'[client]\naddress = "{address}"\nca = "{ca.name}"\ncert = "{mine.cert.name}"\n'
        f'key = "{mine.key.name}"\ntoken_file = "token"\n'
    )
    assert run(["aggregate", "--home", str(home)]) == 0
    assert planner.metadata[0]["authorization"] == "Bearer surgecast_def"


def test_the_environment_holds_a_token(address, planner, monkeypatch):
    monkeypatch.setenv("SURGECAST_TOKEN", "surgecast_ghi")
    assert run(["surges", "--address", address]) == 0
    assert planner.metadata[0]["authorization"] == "Bearer surgecast_ghi"


def test_the_server_of_the_settings_is_asked_where_it_listens_everywhere(address, home, planner):
    port = address.rpartition(":")[2]
    (home / "surgecast.toml").write_text(f'[serve]\nhost = "0.0.0.0"\nport = {port}\n')
    assert run(["surges", "--home", str(home)]) == 0
    assert len(planner.requests) == 1


def test_insecure_overrules_the_certificates_of_the_settings(address, home, planner):
    (home / "surgecast.toml").write_text('[client]\nca = "none.pem"\n')
    assert run(["surges", "--home", str(home), "--address", address, "--insecure"]) == 0
    assert len(planner.requests) == 1


def test_a_failed_handshake_is_one_line(address, home):
    ca = Authority(home).ca
    line = [sys.executable, "-m", "forecast.cli.main", "surges", "--address", address, "--ca", str(ca)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert "it does not encrypt: --insecure" in done.stderr


def test_an_empty_token_file_is_no_token(address, home, capsys):
    (home / "token").write_text("\n")
    assert run(["surges", "--address", address, "--token-file", str(home / "token")]) == 1
    assert "token: expected a readable file with a token, found an empty one" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        (["--address", "nowhere"], 2, "HOST:PORT"),
        (["--address", "127.0.0.1:1", "--cert", "a.pem"], 2, "cert, key: expected both files or none"),
        (["--address", "127.0.0.1:1", "--insecure", "--ca", "a.pem"], 2, "insecure: expected without ca"),
        (["--address", "127.0.0.1:1", "--ca", "a.pem"], 1, "a.pem: expected a readable PEM file"),
        (["--address", "127.0.0.1:1", "--token-file", "t"], 1, "t: expected a readable file with a token"),
    ],
)
def test_options_that_make_no_sense_are_refused(capsys, home, options, status, said):
    assert run(["surges", "--home", str(home), *options]) == status
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    assert said in err
