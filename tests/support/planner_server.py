"""A small real server on loopback that answers with messages made by hand."""

import io
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import grpc
import numpy as np
import pyarrow as pa
import pytest
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status
from surgecast.v1 import forecast_pb2 as pb
from surgecast.v1 import forecast_pb2_grpc, model_pb2, model_pb2_grpc, source_pb2

ORIGIN = np.datetime64("2026-11-01", "s")
DAY = 86_400
LEVELS = (0.025, 0.1, 0.5, 0.9, 0.975)
HORIZON = 3


def seconds(text):
    return int(np.datetime64(text, "s").astype(np.int64))


def source(snapshot="snap-1"):
    return source_pb2.Source(
        model_version="3",
        snapshot_id=snapshot,
        origin_seconds=int(ORIGIN.astype(np.int64)),
        period=source_pb2.PERIOD_DAY,
        period_seconds=DAY,
    )


def times(n=HORIZON):
    return [int(ORIGIN.astype(np.int64)) + DAY * h for h in range(1, n + 1)]


def series(key, mean=4.0, **fields):
    means = [mean + h for h in range(HORIZON)]
    quantiles = [value * 2 * level for value in means for level in LEVELS]
    return pb.SeriesForecast(key=key, mean=means, quantiles=quantiles, **fields)


def refusal(code, text, *details):
    status = status_pb2.Status(code=code, message=text)
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return rpc_status.to_status(status)


def full(after_s=None):
    """The status of a server that is full."""
    wait = error_details_pb2.RetryInfo()
    if after_s is not None:
        wait.retry_delay.FromTimedelta(timedelta(seconds=after_s))
    return refusal(code_pb2.RESOURCE_EXHAUSTED, "full", *([wait] if after_s is not None else []))


class Planner(forecast_pb2_grpc.ForecastServiceServicer):
    """Answers the methods under test; keeps what it was asked, and refuses as often as it is told to."""

    def __init__(self):
        self.requests = []
        self.metadata = []
        self.refusals = []
        self.snapshots = []
        self.export_rows, self.export_batch = 1_000, 400
        self.held = None
        self.groups = 2
        self.broken_after = None

    def heard(self, request, context):
        self.requests.append(request)
        self.metadata.append(dict(context.invocation_metadata()))
        if self.held is not None:
            self.held.wait(20)
        if self.refusals:
            context.abort_with_status(self.refusals.pop(0))
        return source(self.snapshots.pop(0) if self.snapshots else "snap-1")

    def GetForecast(self, request, context):
        about = self.heard(request, context)
        return pb.GetForecastResponse(
            source=about, time_seconds=times(), levels=LEVELS, forecast=series(request.key)
        )

    def BatchGetForecasts(self, request, context):
        about = self.heard(request, context)
        forecasts = [series(key) for key in request.keys]
        return pb.BatchGetForecastsResponse(
            source=about, time_seconds=times(), levels=LEVELS, forecasts=forecasts
        )

    def AggregateForecast(self, request, context):
        about = self.heard(request, context)
        n = 1 if request.aggregation == pb.AGGREGATION_TOTAL else HORIZON
        groups = [
            pb.AggregateGroup(
                values=[f"{name}-{row}" for name in request.group_by],
                series_count=row + 1,
                mean=[10.0 * (row + 1)] * n,
                quantiles=[20.0 * (row + 1) * level for _ in range(n) for level in LEVELS],
            )
            for row in range(self.groups if request.group_by or not self.groups else 1)
        ]
        starts = times(n)
        ends = [times()[-1] + DAY] if n == 1 else [start + DAY for start in starts]
        return pb.AggregateForecastResponse(
            source=about, time_seconds=starts, end_seconds=ends, levels=LEVELS, groups=groups
        )

    def ListSurges(self, request, context):
        about = self.heard(request, context)
        first = int(request.page_token or 0)
        surges = [
            pb.Surge(
                key=None if request.group_by else pb.SeriesKey(item=f"i{n}", location="L", platform="P"),
                values=[f"v{n}" for _ in request.group_by],
                series_count=1,
                base=2.0,
                extra_units=100.0 - n,
                time_seconds=times()[1:],
                peak_seconds=times()[1],
                peak_mean=30.0,
                peak_probability=0.9,
                driver="Singles' Day 2026" if n == 0 else "",
                driver_kind="double-11" if n == 0 else "",
            )
            for n in range(first, min(first + (request.page_size or 100), 5))
        ]
        end = first + len(surges)
        token = str(end) if end < 5 else ""
        return pb.ListSurgesResponse(source=about, surges=surges, next_page_token=token, total_size=5)

    def ListEvents(self, request, context):
        about = self.heard(request, context)
        span = pb.EventSpan(
            name="Singles' Day 2026",
            kind="double-11",
            phase="day",
            start_seconds=seconds("2026-11-03"),
            end_seconds=seconds("2026-11-04"),
            intensity=2.0,
        )
        return pb.ListEventsResponse(
            source=about, events=[pb.EventSummary(span=span, series_count=6)], total_size=1
        )

    def SimulateScenario(self, request, context):
        about = self.heard(request, context)
        pairs = [
            pb.ScenarioForecast(baseline=series(key, 4.0), changed=series(key, 8.0)) for key in request.keys
        ]
        return pb.SimulateScenarioResponse(source=about, time_seconds=times(), levels=LEVELS, forecasts=pairs)

    def ForecastNewSeries(self, request, context):
        about = self.heard(request, context)
        return pb.ForecastNewSeriesResponse(
            source=about,
            time_seconds=times(),
            levels=LEVELS,
            forecast=series(request.key, no_history=True),
        )

    def ExportForecasts(self, request, context):
        about = self.heard(request, context)
        pieces = arrow_pieces(self.export_rows, request.levels or LEVELS, self.export_batch)
        for number, data in enumerate(pieces):
            if number == self.broken_after:
                context.abort_with_status(refusal(code_pb2.UNAVAILABLE, "gone"))
            yield pb.ExportForecastsResponse(source=about if number == 0 else None, data=data)


class Models(model_pb2_grpc.ModelServiceServicer):
    """What serves, and the calls of an administrator: it keeps those that change something, and refuses as
    many as it is told to.
    """

    def __init__(self):
        self.requests = []
        self.refusals = []

    def heard(self, request, context):
        self.requests.append(request)
        if self.refusals:
            context.abort_with_status(self.refusals.pop(0))

    def serving(self, snapshot="snap-1", refused=""):
        return model_pb2.GetServingModelResponse(
            source=source(snapshot),
            bundle_id="b1",
            create_seconds=seconds("2026-11-02T03:00"),
            horizon=HORIZON,
            series_count=12,
            history_periods=60,
            levels=LEVELS,
            refused=model_pb2.RefusedSnapshot(reason=refused) if refused else None,
        )

    def GetServingModel(self, request, context):
        return self.serving()

    def ListModels(self, request, context):
        older = request.page_token == "older"
        model = model_pb2.PublishedModel(
            snapshot_id="snap-0" if older else "snap-1", model_version="3", serving=not older
        )
        return model_pb2.ListModelsResponse(models=[model], next_page_token="" if older else "older")

    def Reload(self, request, context):
        self.heard(request, context)
        return model_pb2.ReloadResponse(serving=self.serving(refused="mean.npy: expected a hash"))

    def Rollback(self, request, context):
        self.heard(request, context)
        return model_pb2.RollbackResponse(serving=self.serving(request.snapshot_id or "snap-0"))


def arrow_pieces(n_rows, levels, batch=400):
    """An Arrow IPC stream, cut without regard to its messages."""
    text = pa.dictionary(pa.int32(), pa.string())
    names = [f"q{level:g}" for level in levels]
    schema = pa.schema(
        [
            *((name, text) for name in ("item", "location", "platform")),
            ("time", pa.timestamp("s")),
            *((name, pa.float32()) for name in ("mean", *names)),
        ]
    )
    sink = io.BytesIO()
    items = pa.array([f"i{n}" for n in range(min(n_rows, 1_000))])
    with pa.ipc.new_stream(sink, schema) as writer:
        for first in range(0, n_rows, batch):
            n = min(batch, n_rows - first)
            index = pa.array(np.arange(first, first + n) % 1_000, pa.int32())
            same = pa.DictionaryArray.from_arrays(pa.array(np.zeros(n), pa.int32()), ["L"])
            columns = [pa.DictionaryArray.from_arrays(index, items), same, same]
            columns.append(pa.array([times()[0]] * n, pa.timestamp("s")))
            columns += [pa.array(np.arange(first, first + n), pa.float32())] * (1 + len(names))
            writer.write_batch(pa.record_batch(columns, schema=schema))
    content = sink.getvalue()
    size = 25 * batch
    return [content[first : first + size] for first in range(0, len(content), size)]


def serve(planner, models, credentials=None):
    server = grpc.server(ThreadPoolExecutor(4))
    forecast_pb2_grpc.add_ForecastServiceServicer_to_server(planner, server)
    model_pb2_grpc.add_ModelServiceServicer_to_server(models, server)
    if credentials is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    return server, f"127.0.0.1:{port}"


@pytest.fixture
def planner():
    return Planner()


@pytest.fixture
def models():
    return Models()


@pytest.fixture
def address(planner, models):
    server, at = serve(planner, models)
    yield at
    server.stop(None).wait()
