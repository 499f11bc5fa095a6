"""What the data loaders of all tasks share: the length of an epoch, and their processes."""

import multiprocessing
from typing import Any

import cv2
import torch

from training.config import RunConfig


def epoch_size(config: RunConfig, pictures: int, world: int) -> int:
    """Draws in one epoch over all devices: whole steps, at least one."""
    step = config.machine.batch_size * config.machine.accumulate * world
    return max(1, (config.data.samples_per_epoch or pictures) // step) * step


def worker_settings(count: int) -> dict[str, Any]:
    """Arguments of a DataLoader with ``count`` processes; none for 0, which loads in this one."""
    if not count:
        return {}
    # Forked from a server that has imported everything and started nothing: a fork of this
    # process would copy locks that the threads of torch, OpenCV and the loggers may hold.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", "training.data.dataset"])
    return {
        "num_workers": count,
        "worker_init_fn": one_thread,
        "multiprocessing_context": context,
        "persistent_workers": True,
    }


def one_thread(_worker: int) -> None:
    """Worker set-up: the processes are the parallelism, threads inside them only compete."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
