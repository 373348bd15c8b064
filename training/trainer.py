"""The Lightning trainer of every fit and of the benchmarks that time one."""

from __future__ import annotations

import lightning
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.strategies import DDPStrategy

from training.feed import OriginFeed
from training.memory import FrugalStrategy
from training.team import Team


def make_trainer(
    device: torch.device, callback: lightning.Callback, team: Team, feed: OriginFeed
) -> lightning.Trainer:
    """A quiet trainer: reports, checkpoints and progress are the caller's.

    A process alone trains on `device`; those of a team each on the GPU of their rank.
    """
    devices: int | list[int] = team.size
    if device.type == "cuda" and team.alone:
        device = torch.device("cuda", device.index or 0)
        devices = [device.index]
    return lightning.Trainer(
        accelerator="gpu" if device.type == "cuda" else device.type,
        devices=devices,
        strategy=FrugalStrategy(device, feed) if team.alone else _strategy(),
        max_steps=-1,
        max_epochs=-1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        gradient_clip_val=1.0,
        use_distributed_sampler=False,
        callbacks=[callback],
    )


def _strategy() -> DDPStrategy:
    """DDP between processes that are there already (`training.worker`). Members whose turn it is not have no
    gradient, and keep none; buffers change in step by themselves."""
    return DDPStrategy(
        cluster_environment=LightningEnvironment(), find_unused_parameters=True, broadcast_buffers=False
    )
