"""A node that is cut off: small; ``make soak`` does it again and again, and with three members."""

from pathlib import Path

from tests.cluster import plays


def test_cluster_a_node_that_is_cut_off_lets_go_first(tmp_path: Path) -> None:
    """A partition, mode automatic: by the kernels' own log no set is ever at two nodes."""
    print(plays.partitions(tmp_path, phones=10, rounds=1, members=1))
