"""The peers by the name that the command line knows."""

from __future__ import annotations

from importlib.util import find_spec

from forecast.errors import NotFoundError, UsageError
from tests.bench.peers.common import Peer
from tests.bench.peers.lightgbm_peer import LightGBMPeer
from tests.bench.peers.mlforecast_peer import MLForecastPeer
from tests.bench.peers.neural_peers import NeuralPeer
from tests.bench.peers.stats_peers import StatsPeer

_TREES = ("lightgbm_peer.py", "features.py", "residuals.py")
_EXOGENOUS = "../../../training/bench/exogenous.py"
_NEURAL = ("neural_peers.py", "../../../training/bench/neural_table.py", _EXOGENOUS)
NEEDS = {
    "lightgbm": "lightgbm",
    "mlforecast": "mlforecast",
    "nhits": "neuralforecast",
    "tide": "neuralforecast",
    "tft": "neuralforecast",
    "seasonal-naive": "statsforecast",
    "autoets": "statsforecast",
}
"""Name -> the module that it needs, of the extra `peers`."""


def make_peer(name: str, minutes: float) -> tuple[Peer, tuple[str, ...]]:
    """The peer within a budget of minutes (those that can be cut short), and its files, from this folder."""
    peers: dict[str, tuple[Peer, tuple[str, ...]]] = {
        "lightgbm": (LightGBMPeer(minutes=minutes), _TREES),
        "mlforecast": (
            MLForecastPeer(minutes=minutes),
            ("mlforecast_peer.py", _EXOGENOUS, "residuals.py"),
        ),
        "nhits": (NeuralPeer(model="NHITS", minutes=minutes), _NEURAL),
        "tide": (NeuralPeer(model="TiDE", minutes=minutes), _NEURAL),
        "tft": (
            NeuralPeer(model="TFT", minutes=minutes, context=56, hidden=64, windows=128),
            _NEURAL,
        ),
        "seasonal-naive": (StatsPeer(model="SeasonalNaive"), ("stats_peers.py",)),
        "autoets": (StatsPeer(model="AutoETS", history=182), ("stats_peers.py",)),
    }
    return peers[name]


def parse_names(text: str) -> list[str]:
    """Names from `a,b,c`, or none. Raises UsageError for one that is not known."""
    names = [] if text == "none" else [name.strip() for name in text.split(",")]
    unknown = [name for name in names if name not in NEEDS]
    if unknown:
        raise UsageError(f"peers: expected some of {', '.join(NEEDS)}, found {', '.join(unknown)}")
    return list(dict.fromkeys(names))


def check_installed(name: str) -> None:
    """Raise NotFoundError where the library of a peer is not installed."""
    if find_spec(NEEDS[name]) is None:
        expected = f"{NEEDS[name]} for the peer {name}"
        raise NotFoundError("extra peers", expected=expected, found="none (pip install -e '.[peers]')")
