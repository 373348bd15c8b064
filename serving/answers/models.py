"""What serves."""

from __future__ import annotations

from dataclasses import dataclass

from surgecast.v1 import model_pb2

from serving.call import Call
from serving.checks import parse
from serving.store import SnapshotStore


@dataclass(frozen=True)
class ModelAnswers:
    """`ModelService`: what serves."""

    store: SnapshotStore

    def get_serving_model(self, content: bytes, _call: Call) -> bytes:
        """`GetServingModel`."""
        parse(model_pb2.GetServingModelRequest, content)
        return self.store.current.describe(self.store.refused).SerializeToString()
