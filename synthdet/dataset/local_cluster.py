"""A Ray cluster of several nodes on this machine, to see what happens when one is lost.

    python -m synthdet.dataset.local_cluster --nodes 2

Prints the address of its head, for ``scripts/score_dataset.py --address``. Each line on stdin kills
a node as a power cut would; the end of stdin ends the cluster. Listens on the loopback interface
alone.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

_ENVIRONMENT = {
    # Named for systems where it is off. Without it Ray listens on the loopback interface only.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",  # else workers yield to whatever else runs
    # A node that is dead is noticed within seconds.
    "RAY_health_check_initial_delay_ms": "2000",
    "RAY_health_check_period_ms": "1000",
}
_STORE_BYTES = 2**27  # of shared memory for each node; models pass through it


class LocalCluster:
    """The same as a context, in a process of its own.

    Attributes:
        address: of the head.
    """

    def __init__(self, nodes: int, scratch: Path | None = None) -> None:
        """Start it.

        Args:
            nodes: nodes of one CPU, beside a head that computes nothing.
            scratch: where workers put temporary files; by default where the system does.
        """
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--nodes", str(nodes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            # Ray keeps sockets in its own folder, and a socket's path has 107 characters at most.
            env={
                **os.environ,
                "RAY_TMPDIR": tempfile.gettempdir(),
                **({"TMPDIR": str(scratch)} if scratch else {}),
            },
        )
        self.address = self._answer()

    def kill_node(self) -> None:
        """Kill every process of a node; RuntimeError where that is impossible."""
        assert self._process.stdin
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        self._answer()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.communicate()

    def _answer(self) -> str:
        assert self._process.stdout
        line = self._process.stdout.readline().strip()
        if not line:
            raise RuntimeError(f"the cluster did not start: run python {__file__} to see why")
        return line


def main(argv: Sequence[str] | None = None) -> int:
    """Run the cluster until stdin ends."""
    parser = argparse.ArgumentParser(
        description="Run a Ray cluster of several nodes on this machine until stdin ends. Each "
        "line on stdin kills a node."
    )
    parser.add_argument(
        "--nodes",
        metavar="N",
        type=int,
        default=2,
        help="Nodes of one CPU, beside a head that computes nothing. The default is 2.",
    )
    args = parser.parse_args(argv)
    os.environ.update(_ENVIRONMENT)
    from ray.cluster_utils import Cluster

    node = {"include_dashboard": False, "object_store_memory": _STORE_BYTES}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **node})
    nodes = [cluster.add_node(num_cpus=1, **node) for _ in range(args.nodes)]
    print(cluster.address, flush=True)
    for _line in sys.stdin:
        cluster.remove_node(nodes.pop(), allow_graceful=False)
        print(f"{len(nodes)} nodes left", flush=True)
    cluster.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
