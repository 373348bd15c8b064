"""An administrator at a terminal: snapshots listed, looked at again and gone back to, here and elsewhere."""

import json

import pytest
from access import token
from cutting_proxy import cutting_proxy

from forecast.cli.main import run
from forecast.snapshot import Pointer
from forecast.snapshot.rollback import read_rollbacks
from serving.server import Server, ServerConfig


@pytest.fixture
def published(own_home, publish_to):
    """Two snapshots, the former and the one that serves."""
    return publish_to(0), publish_to(1)


@pytest.fixture
def serving(own_home, published):
    server = Server(own_home, ServerConfig(port=0))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def said(capsys):
    """Runs a command line, and gives its status and what it printed."""

    def asked(*line):
        status = run([*map(str, line)])
        out, err = capsys.readouterr()
        return status, out, err

    return asked


@pytest.fixture
def elsewhere(tmp_path_factory):
    """A home on another machine than the server's: an empty one."""
    return "--home", str(tmp_path_factory.mktemp("elsewhere"))


@pytest.fixture
def tokens(own_home, tmp_path):
    """Options that send the token of a role; to stand before a server, which asks for tokens then."""
    options = {}
    for role in ("admin", "planner"):
        path = tmp_path / role
        path.write_text(token(own_home, role, role))
        options[role] = ("--token-file", str(path))
    return options


def test_a_server_is_taken_back_from_another_machine(tokens, serving, own_home, published, said, elsewhere):
    admin = ("--address", serving.address, *tokens["admin"], *elsewhere)
    status, out, _ = said("snapshots", *admin, "--json")
    assert status == 0
    before = {one["snapshot"]: one["serving"] for one in json.loads(out)["snapshots"]}
    assert before == {published[0]: False, published[1]: True}
    assert said("rollback", "--reason", "too low", *admin) == (
        0,
        f"{published[0]} serves again at {serving.address}\n",
        "",
    )
    (record,) = read_rollbacks(own_home)
    assert (record.who, record.why, record.former) == ("admin", "too low", published[1])
    status, out, _ = said("rollback", "--reason", "all clear", "--to", published[1], *admin, "--json")
    assert (status, json.loads(out)["snapshot"]) == (0, published[1])
    status, out, _ = said("snapshots", *admin)
    (row,) = [line.split() for line in out.splitlines() if line.split()[:1] == [published[1]]]
    assert row[-1] == "yes"


def test_a_rollback_whose_reply_is_lost_is_done_once_and_said_to_be_open(serving, own_home, published, said):
    def moved():
        return Pointer.read(own_home).snapshot == published[0]

    with cutting_proxy(serving.address, moved) as proxy:
        status, out, err = said("rollback", "--reason", "too low", "--address", proxy)
        assert (status, out, len(err.splitlines())) == (1, "", 1)
        assert f"it may have been done or not: surgecast snapshots --address {proxy}" in err
        status, out, _ = said("snapshots", "--address", proxy, "--json")
    assert [one["snapshot"] for one in json.loads(out)["snapshots"] if one["serving"]] == [published[0]]
    assert [record.snapshot for record in read_rollbacks(own_home)] == [published[0]]


def test_a_reload_tells_what_is_refused(serving, own_home, publish_to, published, said):
    bad = publish_to(2, move=False)
    (own_home.snapshots_dir / bad / "mean.npy").unlink()
    pointer = json.loads(own_home.pointer_file.read_text())
    at = ("--address", serving.address)
    assert said("reload", *at) == (0, f"{published[1]} serves at {serving.address}\n", "")
    own_home.pointer_file.write_text(json.dumps(pointer | {"snapshot": bad, "moves": 9}))
    status, out, err = said("reload", *at)
    assert (status, out) == (1, f"{published[1]} serves at {serving.address}\n")
    assert err.startswith("refused: ")
    assert "mean.npy" in err
    status, out, _ = said("reload", *at, "--json")
    assert status == 1
    assert "mean.npy" in json.loads(out)["refused"]


@pytest.mark.parametrize("line", [("reload",), ("rollback", "--reason", "r")], ids=["reload", "rollback"])
def test_planners_and_strangers_change_nothing(tokens, serving, own_home, said, line):
    before = Pointer.read(own_home)
    for credentials, expected in ((tokens["planner"], "of role planner"), ((), "authorization")):
        status, out, err = said(*line, "--address", serving.address, *credentials)
        assert (status, out, len(err.splitlines())) == (1, "", 1)
        assert expected in err
    assert Pointer.read(own_home) == before


def test_without_an_address_it_is_done_in_the_home(own_home, published, said):
    home = ("--home", str(own_home.root))
    status, out, _ = said("rollback", "--reason", "too low", *home, "--json")
    assert status == 0
    assert json.loads(out)["snapshot"] == published[0]
    status, out, _ = said("snapshots", *home, "--json")
    assert status == 0
    assert [one["snapshot"] for one in json.loads(out)["snapshots"] if one["serving"]] == [published[0]]


def test_a_home_without_snapshots_says_so(elsewhere, said):
    assert said("snapshots", *elsewhere) == (0, "", "no snapshot: surgecast publish makes one\n")


def test_a_connection_without_a_server_is_wrong_usage(own_home, published, said):
    for line in (("snapshots",), ("rollback", "--reason", "r")):
        status, out, err = said(*line, "--home", str(own_home.root), "--token-file", "mine")
        assert (status, out) == (2, "")
        assert "expected --address" in err
    assert read_rollbacks(own_home) == []
