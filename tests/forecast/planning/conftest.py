"""A published chain of shops, and its scenarios expanded the plain way; a panel that can be asked."""

import numpy as np
import pytest
from chain import make_chain

from forecast.home import Home
from forecast.snapshot import Snapshot, write_snapshot
from tests.support.lively import Lively, make


@pytest.fixture(scope="package")
def snapshot(tmp_path_factory):
    home = Home(tmp_path_factory.mktemp("chain"))
    published = write_snapshot(home, *make_chain(), bundle_id="b1", model_version="3")
    return Snapshot.open(home.snapshots_dir / published)


@pytest.fixture(scope="package")
def scenarios_SHK(snapshot):
    return snapshot.scenarios(np.arange(len(snapshot.keys))).astype(np.float64)


@pytest.fixture(scope="session")
def lively() -> Lively:
    """By day; Singles' Day in the second week of the horizon."""
    made = make("day")
    names, first = made.panel.events.names, made.panel.n_periods
    ahead = made.panel.events.intensity_GLE[0, first : first + 14, names.index("double-11/day")]
    assert np.flatnonzero(ahead).tolist() == [6]
    return made
