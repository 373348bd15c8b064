"""The snapshots of a home, as a server of it would list them."""

from __future__ import annotations

from forecast.home import Home
from forecast.snapshot.pointer import readable_pointer
from serving.answers.models import described
from serving.client import PublishedModel
from serving.client.decoding import published_model
from serving.store import listed


def of_home(home: Home) -> list[PublishedModel]:
    """The snapshots that can be read, the newest first; `serving` is the one that servers are to serve.
    BusyError where their folder cannot be read.
    """
    pointer = readable_pointer(home)
    published = pointer.snapshot if pointer is not None else ""
    return [published_model(described(manifest, published)) for manifest in listed(home)]
