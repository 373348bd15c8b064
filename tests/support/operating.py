"""What tests of running servers share: load, waiting, metrics, damaged snapshots."""

from __future__ import annotations

import hashlib
import json
import threading
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from subprocess import Popen
from typing import Any

import grpc
import numpy as np
from grpc import RpcError
from surgecast.v1 import forecast_pb2 as pb

from forecast.snapshot.format import MANIFEST, file_entry

GET = "/surgecast.v1.ForecastService/GetForecast"
KEY = {"item": "SKU-001", "location": "Hangzhou", "platform": "Tmall"}
ROW = 6
"""Where that key stands in the publications of tests."""
RETRY = json.dumps(
    {
        "methodConfig": [
            {
                "name": [{}],
                "retryPolicy": {
                    "maxAttempts": 4,
                    "initialBackoff": "0.1s",
                    "maxBackoff": "2s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ]
    }
)


def read_metrics(port: int) -> str:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return answer.read().decode()


def metric(port: int, name: str) -> float:
    """The sum of the samples of a name."""
    lines = [line for line in read_metrics(port).splitlines() if line.startswith((f"{name} ", f"{name}{{"))]
    assert lines, f"no metric {name}"
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def pids(process: Popen[str]) -> list[int]:
    """The processes below one, such as a supervisor; none where it has ended."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(pid) for pid in children.read_text().split()] if process.poll() is None else []


def forge(folder: Path, name: str, change: Callable[[np.ndarray], Any]) -> None:
    """Change an array of a snapshot so that all its hashes are right, as a faulty writer would."""
    path = folder / f"{name}.npy"
    values = np.load(path)
    change(values)
    np.save(path, values)
    content = json.loads((folder / MANIFEST).read_text())
    entry = file_entry(path)
    content["files"][path.name] = {"size": entry.size, "sha256": entry.sha256}
    seal(folder, content)


def seal(folder: Path, content: dict[str, Any]) -> None:
    """Write a manifest with the right checksum."""
    plain = {key: value for key, value in content.items() if key != "checksum"}
    digest = hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
    (folder / MANIFEST).write_text(json.dumps(plain | {"checksum": digest}))


class Load:
    """Threads that ask for one series, each over a connection of its own, until the end of the block.

    means: what each snapshot says of the series. served: answers by snapshot. failed: calls without answer.
    mixed: answers whose numbers are not those of the snapshot that they name.
    """

    def __init__(self, address: str, means: dict[str, np.ndarray], *, n_threads: int = 2) -> None:
        self.means = means
        self.served: Counter[str] = Counter()
        self.failed: list[str] = []
        self.mixed: list[str] = []
        self._address = address
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(n_threads)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    @property
    def calls(self) -> int:
        return sum(self.served.values())

    def _ask(self) -> None:
        request = pb.GetForecastRequest(key=pb.SeriesKey(**KEY)).SerializeToString()
        options = (
            ("grpc.service_config", RETRY),
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.min_reconnect_backoff_ms", 100),
            ("grpc.initial_reconnect_backoff_ms", 100),
        )
        with grpc.insecure_channel(self._address, options=options) as channel:
            get = channel.unary_unary(GET, response_deserializer=pb.GetForecastResponse.FromString)
            while not self._stop.is_set():
                try:
                    answer = get(request, timeout=10)
                except RpcError as error:
                    self.failed.append(f"{error.code()}: {error.details()}")
                    continue
                snapshot = answer.source.snapshot_id
                self.served[snapshot] += 1
                if not np.array_equal(np.float32(answer.forecast.mean), self.means[snapshot]):
                    self.mixed.append(snapshot)
