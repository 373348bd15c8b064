"""What serves, what could, and going to another snapshot."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from surgecast.v1 import model_pb2

from forecast.errors import InputError, IntegrityError, NotFoundError, PreconditionError
from forecast.home import Home
from forecast.snapshot.format import Manifest
from forecast.snapshot.rollback import check_reason
from serving.answers.paging import next_token, page_start
from serving.call import Call
from serving.checks import check_name, check_page_size, parse
from serving.errors import inside
from serving.served import seconds
from serving.store import SnapshotStore, listed

log = logging.getLogger("surgecast.serving")


@dataclass(frozen=True)
class ModelAnswers:
    """`ModelService`: what serves, and which snapshots could."""

    store: SnapshotStore

    def get_serving_model(self, content: bytes, _call: Call) -> bytes:
        """`GetServingModel`."""
        parse(model_pb2.GetServingModelRequest, content)
        return self._serving().SerializeToString()

    def list_models(self, content: bytes, _call: Call) -> bytes:
        """`ListModels`: a page of the home's snapshots and of what serves, the newest first."""
        request = parse(model_pb2.ListModelsRequest, content)
        size = check_page_size(request.page_size)
        served = self.store.current
        manifests = listed(self.store.home, served.snapshot.manifest)
        stamp = hashlib.sha256("\n".join(m.id for m in manifests).encode()).hexdigest()[:16]
        first = page_start(request.page_token, stamp, len(manifests))
        page = manifests[first : first + size]
        return model_pb2.ListModelsResponse(
            models=[described(manifest, served.snapshot.manifest.id) for manifest in page],
            next_page_token=next_token(stamp, first + size, len(manifests)),
            source=served.source,
        ).SerializeToString()

    def reload(self, content: bytes, call: Call) -> bytes:
        """`Reload`: look at what is published; answered when it serves or is refused."""
        parse(model_pb2.ReloadRequest, content)
        self.store.reload(call.remaining())
        return model_pb2.ReloadResponse(serving=self._serving()).SerializeToString()

    def rollback(self, content: bytes, call: Call) -> bytes:
        """`Rollback`: go back; answered when the former snapshot serves."""
        request = parse(model_pb2.RollbackRequest, content)
        check_name(request.snapshot_id, "snapshot_id")
        check_reason(request.reason)
        who = call.caller()
        with _in_terms_of(request, self.store.home):
            self.store.roll_back(
                request.snapshot_id or None, who=who, why=request.reason, timeout=call.remaining()
            )
        serving = self._serving()
        back = serving.source.snapshot_id
        log.warning("rolled back to %s by %s: %s", back, who, request.reason, extra={"snapshot": back})
        return model_pb2.RollbackResponse(serving=serving).SerializeToString()

    def _serving(self) -> model_pb2.GetServingModelResponse:
        serving = self.store.current.describe(self.store.refused)
        if serving.HasField("refused"):
            serving.refused.reason = inside(serving.refused.reason, self.store.home)
        return serving


@contextmanager
def _in_terms_of(request: model_pb2.RollbackRequest, home: Home) -> Iterator[None]:
    """Errors say the field of the request and the paths inside the home."""
    try:
        yield
    except NotFoundError as error:
        raise NotFoundError(
            "snapshot_id",
            expected=inside(error.expected, home),
            found=inside(error.found, home),
            kind="snapshot",
            name=request.snapshot_id,
        ) from error
    except (InputError, IntegrityError, PreconditionError) as error:
        field = "snapshot_id" if error.field == "snapshot" else inside(error.field, home)
        expected, found = inside(error.expected, home), inside(error.found, home)
        raise type(error)(field, expected=expected, found=found) from error


def described(manifest: Manifest, serving: str) -> model_pb2.PublishedModel:
    """A snapshot as it is listed; `serving` is the one that serves."""
    return model_pb2.PublishedModel(
        snapshot_id=manifest.id,
        model_version=manifest.model_version,
        bundle_id=manifest.bundle_id,
        create_seconds=seconds(np.datetime64(manifest.created.removesuffix("+00:00"), "s")),
        origin_seconds=seconds(manifest.origin),
        series_count=manifest.n_series,
        serving=manifest.id == serving,
    )
