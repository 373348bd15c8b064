"""Random and mutated requests to every method of a real server process: a good answer, or an error that names
the field. `make fuzz` asks 20,000 of each method; `make test` asks some.
"""

import os

import grpc
import pytest
from access import refusal
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.methods import FORECASTS, MODELS

EXAMPLES = int(os.environ.get("SURGECAST_FUZZ", "60"))
OUR_FAULT = {
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DATA_LOSS,
}
NAMES = st.sampled_from(
    (
        *(
            "SKU-001",
            "SKU-000",
            "Hangzhou",
            "上海",
            "Tmall",
            "in-store",
            "item",
            "location",
            "category",
            "food",
        ),
        *("price", "discount", "double-11"),
        *("", "x" * 201, "a\x00b", "\u202e", "../../etc/passwd", "%s", "\U0001f600"),
    )
)
TEXTS = NAMES | st.text(max_size=20)
FLOATS = st.sampled_from([0.0, -0.0, 0.5, 1.0, 2.0, -1.0, 1e308, float("nan"), float("inf")]) | st.floats()


def whole(bits, *, signed):
    least, most = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    times = [1_793_577_600, 1_794_355_200]  # the first day of the horizon, and Singles' Day
    known = [0, 1, 2, 7, 14, 15, 100, 1_000, 1_001, least, most, *(t for t in times if t <= most)]
    return st.sampled_from(known) | st.integers(least, most)


SCALARS = {
    FieldDescriptor.TYPE_STRING: TEXTS,
    FieldDescriptor.TYPE_BYTES: st.binary(max_size=40),
    FieldDescriptor.TYPE_BOOL: st.booleans(),
    FieldDescriptor.TYPE_DOUBLE: FLOATS,
    FieldDescriptor.TYPE_FLOAT: st.floats(width=32),
    FieldDescriptor.TYPE_INT32: whole(32, signed=True),
    FieldDescriptor.TYPE_INT64: whole(64, signed=True),
    FieldDescriptor.TYPE_UINT32: whole(32, signed=False),
    FieldDescriptor.TYPE_UINT64: whole(64, signed=False),
    FieldDescriptor.TYPE_ENUM: st.integers(-1, 6),
}


def values(field):
    """A value of a field; of one element where it is repeated."""
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        return messages(field.message_type)
    return SCALARS[field.type]


@st.composite
def messages(draw, descriptor):
    """A message with some of its fields, each of the right type and often of a wrong value."""
    message = message_factory.GetMessageClass(descriptor)()
    for field in descriptor.fields:
        if not draw(st.integers(0, 3)):
            continue
        target = getattr(message, field.name)
        is_map = field.message_type is not None and field.message_type.GetOptions().map_entry
        if is_map:
            target.update(draw(st.dictionaries(TEXTS, TEXTS, max_size=3)))
        elif field.is_repeated:
            target.extend(draw(st.lists(values(field), max_size=4)))
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            target.CopyFrom(draw(values(field)))
        else:
            setattr(message, field.name, draw(values(field)))
    return message


@st.composite
def contents(draw, descriptor):
    """The bytes of a request: random ones, a message, or a message with bytes changed, cut off or put in."""
    kind = draw(st.sampled_from(["message", "message", "mutated", "random"]))
    if kind == "random":
        return draw(st.binary(max_size=80))
    content = bytearray(draw(messages(descriptor)).SerializeToString())
    if kind == "mutated":
        for _ in range(draw(st.integers(1, 4))):
            at = draw(st.integers(0, len(content)))
            change = draw(st.sampled_from(["put in", "cut", "flip"]))
            if change == "put in":
                content[at:at] = draw(st.binary(min_size=1, max_size=9))
            elif change == "cut":
                del content[at:]
            elif at < len(content):
                content[at] ^= 1 << draw(st.integers(0, 7))
    return bytes(content)


METHODS = {
    f"/{service}/{method.name}": method
    for service in (FORECASTS, MODELS)
    for method in descriptor_pool.Default().FindServiceByName(service).methods
}


@pytest.fixture(scope="module")
def channel(server):
    with grpc.insecure_channel(server.address) as opened:
        yield opened


def failure(call, content, *, stream):
    """How a call failed; None when it did not."""
    try:
        answer = call(content, timeout=30)
        for _ in answer if stream else ():
            pass
    except grpc.RpcError as error:
        return error
    return None


@pytest.mark.timeout(0 if "SURGECAST_FUZZ" in os.environ else 300)
@pytest.mark.parametrize("path", METHODS)
def test_every_answer_is_good_or_names_the_field(server, channel, path):
    method = METHODS[path]
    call = (channel.unary_stream if method.server_streaming else channel.unary_unary)(path)

    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(contents(method.input_type))
    def ask(content):
        failed = failure(call, content, stream=method.server_streaming)
        if failed is None:
            return
        code, details = refusal(failed)
        assert code not in OUR_FAULT, failed
        if code is grpc.StatusCode.INVALID_ARGUMENT:
            assert all(one.field for one in details["BadRequest"].field_violations)

    ask()
    assert server.process.poll() is None
    assert not any("Traceback" in line for line in server.lines)
