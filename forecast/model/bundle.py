"""A bundle: a trained model on disk. safetensors and JSON, every file hashed, never pickle.

bundle.json            format, configuration, schema, facts, SHA-256 of the other files
weights.safetensors    the network's parameters
coupling.safetensors   ranks of the joint scenarios, one row a series
series.json            the keys of those rows
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, from_numpy

from forecast.demand.panel import SeriesKeys
from forecast.errors import IntegrityError, NotFoundError
from forecast.model.config import ModelConfig
from forecast.model.schema import FeatureSchema

FORMAT: Final = 1
FILES: Final = ("weights.safetensors", "coupling.safetensors", "series.json")


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A trained model and all that is needed to score with it.

    weights: parameters by name. ranks_SHK: joint scenarios of the training series, rows as `keys`.
    facts: what a person wants to know of it (origin, data version, series, steps, seed ...); plain values.
    """

    config: ModelConfig
    schema: FeatureSchema
    weights: Mapping[str, Tensor]
    ranks_SHK: NDArray[np.uint8]
    keys: SeriesKeys
    facts: Mapping[str, str | int | float]

    @property
    def bundle_id(self) -> str:
        """The first 16 hexadecimal digits of the SHA-256 of its manifest."""
        return _manifest(self)[1]

    def save(self, folder: Path) -> None:
        """Write the bundle as `folder`, whole or not at all; a folder that is there already stays as it
        is."""
        if folder.exists():
            return
        folder.parent.mkdir(parents=True, exist_ok=True)
        manifest, _, contents = _manifest(self)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            for name, data in {**contents, "bundle.json": manifest}.items():
                with (temporary / name).open("wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
            temporary.chmod(0o755)
            temporary.rename(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read and verify a bundle.

        Raises:
            NotFoundError: no bundle there. IntegrityError: a newer format, or bytes that are not what was
            written.
        """
        try:
            manifest = json.loads((folder / "bundle.json").read_bytes())
        except FileNotFoundError:
            raise NotFoundError("bundle", expected=f"a bundle in {folder}", found="no bundle.json") from None
        except ValueError as error:
            raise IntegrityError("bundle.json", expected="JSON", found=str(error)) from None
        if manifest.get("format") != FORMAT:
            raise IntegrityError(
                "bundle.json format", expected=str(FORMAT), found=str(manifest.get("format"))
            )
        contents = {name: _read_verified(folder / name, manifest["sha256"][name]) for name in FILES}
        keys = json.loads(contents["series.json"])
        return cls(
            config=ModelConfig(**manifest["config"]),
            schema=FeatureSchema.from_dict(manifest["schema"]),
            weights=load_tensors(contents["weights.safetensors"]),
            ranks_SHK=load_tensors(contents["coupling.safetensors"])["ranks_SHK"].numpy(),
            keys=SeriesKeys(**{name: np.asarray(values, dtype=np.str_) for name, values in keys.items()}),
            facts=manifest["facts"],
        )


def _manifest(bundle: Bundle) -> tuple[bytes, str, dict[str, bytes]]:
    """The manifest's bytes, the id, and the other files' bytes."""
    keys = {name: getattr(bundle.keys, name).tolist() for name in ("item", "location", "platform")}
    contents = {
        "weights.safetensors": save_tensors({k: v.cpu().contiguous() for k, v in bundle.weights.items()}),
        "coupling.safetensors": save_tensors(
            {"ranks_SHK": from_numpy(np.ascontiguousarray(bundle.ranks_SHK))}
        ),
        "series.json": json.dumps(keys).encode(),
    }
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "config": asdict(bundle.config),
        "schema": bundle.schema.to_dict(),
        "facts": dict(bundle.facts),
        "sha256": {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()},
    }
    data = json.dumps(manifest, indent=2, sort_keys=True).encode()
    return data, hashlib.sha256(data).hexdigest()[:16], contents


def _read_verified(path: Path, expected: str) -> bytes:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise IntegrityError(str(path), expected="a file of the bundle", found="no such file") from None
    found = hashlib.sha256(data).hexdigest()
    if found != expected:
        raise IntegrityError(str(path), expected=f"SHA-256 {expected}", found=found)
    return data
