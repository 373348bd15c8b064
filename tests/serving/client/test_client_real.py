"""Both clients against a real server process."""

import asyncio

import numpy as np
import pytest

from forecast.errors import InputError, NotFoundError
from serving.client import AsyncClient, Client, to_frame

KEY = {"item": "SKU-001", "location": "Hangzhou", "platform": "Tmall"}


def test_asyncio_gets_what_threads_get(server):
    async def ask(keys):
        async with AsyncClient(server.address) as client:
            one, many, model, *others = await asyncio.gather(
                client.forecast(**KEY),
                client.forecasts(keys),
                client.serving_model(),
                *(client.forecast(**KEY) for _ in range(20)),
            )
            assert all(np.array_equal(other.mean, one.mean) for other in others)
            return one, many, model, [series async for series in client.list_series(page_size=5)]

    with Client(server.address) as client:
        listed = list(client.list_series())
        keys = [series.key for series in listed]
        one, many, model, pages = asyncio.run(ask(keys))
        assert pages == listed
        assert np.array_equal(one.quantiles, client.forecast(**KEY).quantiles)
        assert to_frame(many).equals(to_frame(client.forecasts(keys)))
        assert model.source == client.serving_model().source
        assert model.n_series == len(listed)
        assert len(model.levels) == 17
        assert client.health() == client.health("surgecast.v1.ForecastService") == "SERVING"


def test_asyncio_raises_our_errors(server):
    async def ask(**options):
        async with AsyncClient(server.address) as client:
            await client.forecast(**KEY | options)

    with pytest.raises(NotFoundError, match="SKU-001"):
        asyncio.run(ask(item="SKU-0O1"))
    with pytest.raises(InputError, match=r"horizon: expected 1\.\.14 periods, found 15"):
        asyncio.run(ask(horizon=15))
