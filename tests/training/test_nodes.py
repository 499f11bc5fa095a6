"""Two processes as the two nodes of a cluster, joined over the loopback interface."""

import json
import os
import socket
import subprocess
import sys
from types import SimpleNamespace

import pandas as pd
import pytest
from lightning.pytorch.utilities import rank_zero_only

from synthdet.errors import UsageError
from training import train as program
from training.config import save_config


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_two_nodes_share_one_run(tiny, tmp_path):
    """As training/README.md says: torchrun on every node, with the node's own number."""
    recipe = tmp_path / "recipe.yaml"
    save_config(tiny("phases.0.epochs=1", "optimiser.ema=0"), recipe)
    where = ["--master-addr=127.0.0.1", f"--master-port={free_port()}"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1"]
    settings = ["--config", str(recipe), "machine.nodes=2", "machine.devices=1"]
    nodes = [
        subprocess.Popen(
            [*torchrun, f"--node-rank={rank}", *where, program.__file__, *settings],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "GLOO_SOCKET_IFNAME": "lo"},
        )
        for rank in range(2)
    ]
    for node in nodes:
        _, said = node.communicate(timeout=300)
        assert node.returncode == 0, said
    folder = tmp_path / "runs" / "tiny"
    assert json.loads((folder / "metrics.json").read_text())["val"]["native"]["pictures"] == 32
    steps = pd.read_csv(folder / "detector/csv/version_0/metrics.csv")["step"]
    assert steps.max() == 1  # 8 samples in steps of 2 × 2


@pytest.mark.parametrize(
    ("node", "rank", "first"), [("", 0, True), ("0", 0, True), ("1", 0, False), ("0", 1, False)]
)
def test_one_process_of_all_nodes_writes(monkeypatch, node, rank, first):
    """Before it has joined the others, a process started without torchrun knows its node alone."""
    monkeypatch.setenv("NODE_RANK", node) if node else monkeypatch.delenv("NODE_RANK", False)
    monkeypatch.setattr(rank_zero_only, "rank", rank)
    assert program.is_first_device() is first


def test_a_node_that_does_not_see_the_run_says_so(tmp_path):
    shared = program.SharedFolder(tmp_path / "config.yaml")
    with pytest.raises(UsageError, match="a file system that all nodes share"):
        shared.setup(SimpleNamespace(global_rank=1), None, "fit")
    (tmp_path / "config.yaml").write_text("")
    shared.setup(SimpleNamespace(global_rank=1), None, "fit")
