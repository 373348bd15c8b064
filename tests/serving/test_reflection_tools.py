"""What tools such as grpcurl do: find the interface by asking the server, and speak JSON."""

import grpc
import pytest
from google.protobuf import json_format
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase


@pytest.fixture(scope="module")
def channel(server):
    with grpc.insecure_channel(server.address) as opened:
        yield opened


def call(channel, path, request):
    """The answer to a request in JSON, by reflection alone."""
    service, name = path.split("/")
    pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
    method = pool.FindServiceByName(service).FindMethodByName(name)
    message = json_format.ParseDict(request, GetMessageClass(method.input_type)())
    reply = channel.unary_unary(f"/{path}")(message.SerializeToString(), timeout=10)
    return json_format.MessageToDict(GetMessageClass(method.output_type).FromString(reply))


def test_forecasts_are_found_and_asked_for_in_json(channel):
    key = {"item": "SKU-001", "location": "Hangzhou", "platform": "Tmall"}
    answer = call(channel, "surgecast.v1.ForecastService/GetForecast", {"key": key, "horizon": 2})
    assert answer["forecast"]["key"] == key
    assert len(answer["forecast"]["mean"]) == 2
    page = call(channel, "surgecast.v1.ForecastService/ListSeries", {"pageSize": 3, "order": 1})
    assert len(page["series"]) == 3
    serving = call(channel, "surgecast.v1.ModelService/GetServingModel", {})
    assert serving["seriesCount"] == page["totalSize"]
