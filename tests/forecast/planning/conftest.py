"""A published chain of shops, and its scenarios expanded the plain way."""

import numpy as np
import pytest
from chain import make_chain

from forecast.home import Home
from forecast.snapshot import Snapshot, write_snapshot


@pytest.fixture(scope="package")
def snapshot(tmp_path_factory):
    home = Home(tmp_path_factory.mktemp("chain"))
    published = write_snapshot(home, *make_chain(), bundle_id="b1", model_version="3")
    return Snapshot.open(home.snapshots_dir / published)


@pytest.fixture(scope="package")
def scenarios_SHK(snapshot):
    return snapshot.scenarios(np.arange(len(snapshot.keys))).astype(np.float64)
