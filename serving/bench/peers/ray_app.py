"""The forecasts of a home behind Ray Serve's gRPC ingress: answered by the same code as in our own server, or
made by the model when they are asked for."""

from __future__ import annotations

import argparse
import math
import os
import signal
import sys
from pathlib import Path
from typing import Final

import ray
from ray import serve
from ray.serve.config import gRPCOptions
from surgecast.v1 import forecast_pb2

from forecast.home import Home
from serving.answers.forecasts import ForecastAnswers
from serving.bench.peers.processes import READY
from serving.call import Call
from serving.store import SnapshotStore

SERVICER: Final = "surgecast.v1.forecast_pb2_grpc.add_ForecastServiceServicer_to_server"
CALL: Final = Call(remaining=lambda: math.inf, active=lambda: True)


class ForecastDeployment:
    """A replica: the generated service's methods by name."""

    def __init__(self, home: str) -> None:
        store = SnapshotStore(Home(Path(home)))
        store.load()
        self._answers = ForecastAnswers(store)

    async def BatchGetForecasts(
        self, request: forecast_pb2.BatchGetForecastsRequest
    ) -> forecast_pb2.BatchGetForecastsResponse:
        """Ray Serve passes messages, not bytes."""
        content = self._answers.batch_get_forecasts(request.SerializeToString(), CALL)
        return forecast_pb2.BatchGetForecastsResponse.FromString(content)


class ModelDeployment:
    """A replica that runs the model."""

    def __init__(self, home: str) -> None:
        from serving.bench.peers.model import ModelForecasts

        store = SnapshotStore(Home(Path(home)))
        store.load()
        self._model = ModelForecasts(Home(Path(home)))
        self._head = store.current.head(self._model.horizon)

    async def BatchGetForecasts(
        self, request: forecast_pb2.BatchGetForecastsRequest
    ) -> forecast_pb2.BatchGetForecastsResponse:
        """As of the other deployment; only keys are looked at."""
        mean_RH, quantiles_RHQ = self._model.of(
            [(key.item, key.location, key.platform) for key in request.keys]
        )
        reply = forecast_pb2.BatchGetForecastsResponse.FromString(self._head)
        flat_RN = quantiles_RHQ.reshape(len(request.keys), -1)
        for key, mean_H, flat_N in zip(request.keys, mean_RH.tolist(), flat_RN.tolist(), strict=True):
            reply.forecasts.add(key=key, mean=mean_H, quantiles=flat_N)
        return reply


def main() -> None:
    """Serve until SIGTERM or SIGINT; prints one line when calls are answered."""
    parser = argparse.ArgumentParser()
    for name in ("--home", "--folder"):
        parser.add_argument(name, required=True)
    for name in ("--port", "--http-port"):
        parser.add_argument(name, required=True, type=int)
    parser.add_argument("--model", action="store_true")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    ray.init(
        num_cpus=1,
        include_dashboard=False,
        log_to_driver=False,
        _temp_dir=options.folder,
        namespace="serve",
    )
    try:
        serve.start(
            http_options={"host": "127.0.0.1", "port": options.http_port},
            grpc_options=gRPCOptions(port=options.port, grpc_servicer_functions=[SERVICER]),
            logging_config={"enable_access_log": False},
        )
        deployment = serve.deployment(ModelDeployment if options.model else ForecastDeployment).options(
            num_replicas=1, max_ongoing_requests=100, ray_actor_options={"num_cpus": 1}
        )
        serve.run(deployment.bind(options.home))
        os.write(sys.stdout.fileno(), f"{READY}\n".encode())
        signal.pause()
    finally:
        serve.shutdown()
        ray.shutdown()
