"""The fast encoding gives the bytes' meaning that plain messages have."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from surgecast.v1 import forecast_pb2

from serving import wire

NAMES = st.text(max_size=40)


@settings(max_examples=40, deadline=None)
@given(st.tuples(NAMES, NAMES, NAMES), st.integers(1, 40), st.integers(0, 200), st.booleans(), st.booleans())
def test_encoding_equals_plain_messages(key, horizon, n_history, full, new):
    random = np.random.default_rng(horizon)
    mean = random.normal(size=(2, horizon)).astype(np.float32)
    quantiles = random.normal(size=(2, horizon, 17)).astype(np.float32)
    history = random.normal(size=(2, n_history)).astype(np.float32)
    event = forecast_pb2.EventSpan(name=key[0], kind="k", phase="day", start_seconds=5, end_seconds=9)
    plain = forecast_pb2.BatchGetForecastsResponse(
        forecasts=[
            forecast_pb2.SeriesForecast(
                key=forecast_pb2.SeriesKey(item=key[0], location=key[1], platform=key[2]),
                mean=mean[row],
                quantiles=quantiles[row].ravel(),
                history=history[row] if full else [],
                events=[event, event] if full else [],
                no_history=new,
            )
            for row in range(2)
        ]
    )
    fields = wire.encode_forecasts(
        wire.MANY,
        [wire.encode_key(*key, no_history=new)] * 2,
        mean,
        quantiles,
        history_SN=history if full else None,
        events=[wire.encode_events([event, event])] * 2 if full else None,
    )
    assert forecast_pb2.BatchGetForecastsResponse.FromString(b"".join(fields)) == plain
    if (
        not new
    ):  # a label stands beside its key, since it is prepared with it; the order of fields means nothing
        assert b"".join(fields) == plain.SerializeToString()


def test_replies_share_their_head():
    """One encoded head serves both kinds of reply."""
    one, many = forecast_pb2.GetForecastResponse.DESCRIPTOR, forecast_pb2.BatchGetForecastsResponse.DESCRIPTOR
    for name in ("source", "time_seconds", "levels"):
        a, b = one.fields_by_name[name], many.fields_by_name[name]
        assert (a.number, a.type) == (b.number, b.type)


@given(st.integers(0, 2**40))
def test_varint(value):
    content = wire.varint(value)
    assert sum((byte & 0x7F) << (7 * i) for i, byte in enumerate(content)) == value
    assert [byte >> 7 for byte in content] == [1] * (len(content) - 1) + [0]
