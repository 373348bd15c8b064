"""Tokens: made, shown once, kept as hashes, listed, revoked."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from access import token
from typer.testing import CliRunner

from forecast.errors import AccessError, IntegrityError, NotFoundError, UsageError
from serving.access.cli import tokens
from serving.access.tokens import find_token, read_tokens


def run(home, *arguments):
    result = CliRunner().invoke(tokens, [*arguments, "--home", str(home.root)])
    if isinstance(result.exception, Exception):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result


def find(home, header):
    return find_token({token.id: token for token in read_tokens(home)}, header)


def test_a_token_is_shown_once_and_kept_as_a_hash(own_home):
    text = run(own_home, "add", "warehouse-7", "--role", "planner", "--expires", "12h").stdout.strip()
    assert text.startswith("surgecast_")
    kept = own_home.tokens_file.read_text()
    assert text.rpartition("_")[2] not in kept
    assert own_home.tokens_file.stat().st_mode & 0o777 == 0o600
    found = find(own_home, f"Bearer {text}")
    assert (found.name, found.role, found.rate, found.concurrency) == ("warehouse-7", "planner", 100, 20)
    left = datetime.fromisoformat(found.expires) - datetime.now(UTC)
    assert timedelta(hours=11.9) < left <= timedelta(hours=12)
    audit = own_home.audit_file.read_text()
    assert "tokens add" in audit
    assert text not in audit
    assert "warehouse-7" in audit


def test_tokens_are_listed_and_revoked(own_home):
    first = json.loads(run(own_home, "add", "a", "--json").stdout)["token"]
    run(own_home, "add", "b", "--role", "admin", "--expires", "never")
    rows = json.loads(run(own_home, "list", "--json").stdout)["tokens"]
    assert [(row["name"], row["role"], row["valid"]) for row in rows] == [
        ("a", "planner", True),
        ("b", "admin", True),
    ]
    assert rows[1]["expires"] == "never"
    assert first not in run(own_home, "list").stdout
    assert "the last" not in run(own_home, "revoke", "a").stderr
    with pytest.raises(AccessError, match="not"):
        find(own_home, f"Bearer {first}")
    with pytest.raises(NotFoundError, match="expected one of b, found 'a'"):
        run(own_home, "revoke", "a")
    assert "the last: nobody may ask until" in run(own_home, "revoke", "b").stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["add", "a b"], "name: expected 1 to 64 letters"),
        (["add", "../x"], "name: expected 1 to 64 letters"),
        (["add", "x" * 65], "name: expected 1 to 64 letters"),
        (["add", "a", "--role", "root"], "--role: expected one of planner, ingest, admin, found 'root'"),
        (["add", "a", "--expires", "90"], "--expires: expected a time such as"),
        (["add", "a", "--expires", "0d"], "--expires: expected a time such as"),
        (["add", "a", "--rate", "0"], "rate: expected more than 0"),
        (["add", "a", "--rate", "nan"], "rate: expected more than 0"),
        (["add", "a", "--rate", "1e-320"], "rate: expected at least 0.000278 calls per second (one an hour"),
        (["add", "a", "--rate", "1e-4"], "rate: expected at least 0.000278 calls per second (one an hour"),
        (["add", "a", "--concurrency", "0"], "concurrency: expected at least 1"),
        (["add", "taken"], "name: expected one that is not taken, found 'taken'"),
    ],
)
def test_what_cannot_be_a_token_is_refused_and_changes_nothing(own_home, arguments, said):
    token(own_home, "taken")
    before = own_home.tokens_file.read_bytes()
    with pytest.raises(UsageError, match=said.replace("(", r"\(")):
        run(own_home, *arguments)
    assert own_home.tokens_file.read_bytes() == before


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Basic dXNlcjpwYXNz",
        "Bearer surgecast_00000000_" + "A" * 43,
        "Bearer surgecast_" + "A" * 52,
        "Bearer \x00\xff",
        "Bearer " + "x" * 10_000,
    ],
)
def test_other_headers_are_not_tokens(own_home, header):
    token(own_home)
    with pytest.raises(AccessError) as caught:
        find(own_home, header)
    assert caught.value.field == "authorization"


def test_a_changed_secret_and_an_expired_token_are_refused(own_home):
    text = token(own_home)
    changed = text[:-1] + ("A" if text[-1] != "A" else "B")
    with pytest.raises(AccessError, match="found one that is not"):
        find(own_home, f"Bearer {changed}")
    old = token(own_home, "old", expires=datetime.now(UTC) - timedelta(seconds=1))
    with pytest.raises(AccessError, match="found one that expired"):
        find(own_home, f"Bearer {old}")


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "\x00" + text,
        lambda text: "[" * 100_000,
        lambda text: text.replace('"format": 1', '"format": 2'),
        lambda text: text.replace('"role": "planner"', '"role": "king"'),
        lambda text: text.replace('"rate": 1000.0', '"rate": "fast"'),
        lambda text: text.replace('"expires": ""', '"expires": "soon"'),
        lambda text: text.replace('"expires": ""', '"expires": "2030-01-01T00:00:00"'),
        lambda text: text.replace('"salt"', '"pepper"'),
        lambda text: "null",
    ],
)
def test_a_damaged_file_is_said_to_be(own_home, damage):
    token(own_home)
    own_home.tokens_file.write_text(damage(own_home.tokens_file.read_text()))
    with pytest.raises(IntegrityError, match=r"tokens\.json"):
        read_tokens(own_home)
    with pytest.raises(IntegrityError):
        token(own_home, "another")


def test_a_file_that_others_may_write_is_refused(own_home):
    token(own_home)
    own_home.tokens_file.chmod(0o666)
    with pytest.raises(IntegrityError, match="mode 0666"):
        read_tokens(own_home)
