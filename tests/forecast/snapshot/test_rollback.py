"""Going back, and the record of it."""

import json

import pytest

from forecast.errors import BusyError, InputError, IntegrityError, NotFoundError
from forecast.home import Home
from forecast.snapshot import Pointer, move_pointer, write_snapshot
from forecast.snapshot.rollback import open_rollback, read_rollbacks, reconcile, roll_back


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path)


@pytest.fixture
def snapshots(home, make_publication):
    """Three snapshots, published after each other."""
    found = []
    for seed in range(3):
        forecasts, panel = make_publication(seed)
        found.append(write_snapshot(home, forecasts, panel, bundle_id="b1", model_version=str(seed)))
        move_pointer(home, found[-1])
    return found


def back(home, to=None, check=lambda _snapshot: None):
    return roll_back(home, to, who="olga", why="too high", check=check)


def test_back_to_the_former_and_on_by_name(home, snapshots):
    record = back(home)
    assert (record.snapshot, record.former, record.who, record.why) == (
        snapshots[1],
        snapshots[2],
        "olga",
        "too high",
    )
    assert Pointer.read(home).snapshot == snapshots[1]
    with pytest.raises(InputError, match="gone back from: too high"):
        back(home)
    assert back(home, snapshots[0]).former == snapshots[1]
    assert [one.snapshot for one in read_rollbacks(home)] == [snapshots[1], snapshots[0]]


def test_a_rollback_is_open_until_reconciled_or_something_is_published(home, snapshots):
    assert open_rollback(home) is None
    record = back(home)
    assert open_rollback(home) == record
    reconcile(home)
    assert open_rollback(home) is None
    assert all(one.reconciled for one in read_rollbacks(home))
    back(home, snapshots[0])
    assert open_rollback(home).snapshot == snapshots[0]
    move_pointer(home, snapshots[2])
    assert open_rollback(home) is None


def test_a_damaged_pointer_is_repaired_by_name_alone(home, snapshots):
    home.pointer_file.write_text("{")
    with pytest.raises(IntegrityError, match=r"serving\.json"):
        back(home)
    assert back(home, snapshots[0]).former == ""
    assert Pointer.read(home).snapshot == snapshots[0]


def test_what_cannot_serve_changes_nothing(home, snapshots):
    def refuse(snapshot):
        raise IntegrityError(snapshot, expected="a sound one", found="another")

    with pytest.raises(IntegrityError, match="a sound one"):
        back(home, check=refuse)
    with pytest.raises(NotFoundError):
        back(home, "nosuch")
    with pytest.raises(InputError, match="which the pointer names already"):
        back(home, snapshots[2])
    assert Pointer.read(home).snapshot == snapshots[2]
    assert read_rollbacks(home) == []


def test_what_is_published_meanwhile_is_not_taken_back(home, snapshots, make_publication):
    forecasts, panel = make_publication(3)
    fresh = write_snapshot(home, forecasts, panel, bundle_id="b1", model_version="3")
    for target in (None, snapshots[0]):
        with pytest.raises(BusyError, match=f"found {fresh}, published meanwhile") as caught:
            back(home, target, check=lambda _snapshot: move_pointer(home, fresh))
        assert caught.value.retry_s == 0
        assert Pointer.read(home).snapshot == fresh
        move_pointer(home, snapshots[2])
    assert read_rollbacks(home) == []


def test_a_pointer_that_is_repaired_meanwhile_is_left_alone(home, snapshots):
    home.pointer_file.write_text("{")
    with pytest.raises(BusyError, match="published meanwhile"):
        back(home, snapshots[0], check=lambda _snapshot: move_pointer(home, snapshots[1]))
    assert Pointer.read(home).snapshot == snapshots[1]


def test_the_first_publication_has_none_before(home, make_publication):
    forecasts, panel = make_publication()
    move_pointer(home, write_snapshot(home, forecasts, panel, bundle_id="b1", model_version="3"))
    with pytest.raises(NotFoundError, match="expected one that served before, found none"):
        back(home)


@pytest.mark.parametrize(
    "text", ["", "[]", '{"format": 2}', '{"format": 1, "rollbacks": [{}]}', "[" * 200_000]
)
def test_a_damaged_record_is_named(home, snapshots, text):
    home.rollbacks_file.write_text(text)
    with pytest.raises(IntegrityError, match=r"rollbacks\.json"):
        back(home)
    assert Pointer.read(home).snapshot == snapshots[2]


def test_a_record_without_its_move_is_not_in_force(home, snapshots):
    back(home)
    content = json.loads(home.rollbacks_file.read_text())
    content["rollbacks"].append(content["rollbacks"][0] | {"moves": 99})
    home.rollbacks_file.write_text(json.dumps(content))
    assert open_rollback(home) is None
