"""Which snapshots could serve, where their folder is gone or cannot be read."""

import shutil

import pytest

from forecast.cli.main import run
from forecast.errors import BusyError
from serving.store import SnapshotStore, listed


def test_a_folder_that_cannot_be_read_is_not_an_empty_one(own_home, capsys):
    folder = own_home.snapshots_dir
    folder.symlink_to(folder)
    said = "snapshots: expected a folder that can be read, found Too many levels of symbolic links"
    with pytest.raises(BusyError) as caught:
        listed(own_home)
    assert str(caught.value) == said
    assert run(["snapshots", "--home", str(own_home.root)]) == 1
    assert capsys.readouterr() == ("", f"error: {said}\n")


def test_what_serves_is_listed_though_its_folder_is_gone(own_home, publish_to):
    former, published = publish_to(0), publish_to(1)
    serving = SnapshotStore(own_home).load().snapshot.manifest
    assert {manifest.id for manifest in listed(own_home, serving)} == {former, published}
    shutil.rmtree(own_home.snapshots_dir / published)
    assert {manifest.id for manifest in listed(own_home, serving)} == {former, published}
    shutil.rmtree(own_home.snapshots_dir)
    assert listed(own_home, serving) == [serving]
    assert listed(own_home) == []
