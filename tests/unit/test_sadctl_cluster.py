"""What sadctl says of a cluster."""

from typing import Any

import pytest

from sad.ctl.cluster import cluster_lines, listed_lines, taken_lines
from sad.ctl.cluster_shapes import ClusterStatus
from sad.ctl.sheet import Sheet

NOW = 1_700_000_000.0
MICRO = 1_000_000


def cluster(**changes: Any) -> ClusterStatus:
    values: Any = {
        "cluster": "edge",
        "node": "a",
        "etcd": "well",
        "etcdHint": "",
        "waiting": 0,
        "lag": 0,
        "compareWanted": [],
        "endpoints": [
            {
                "endpoint": "access",
                "mode": "manual",
                "state": "standby",
                "owner": "b",
                "epoch": 17,
                "setAside": 3,
            }
        ],
        "nodes": [
            {"name": "a", "since": int(NOW - 60) * MICRO, "version": "1", "clockAhead": 0},
            {"name": "b", "since": int(NOW - 90) * MICRO, "version": "1", "clockAhead": 5 * MICRO},
        ],
    } | changes
    sample: ClusterStatus = values
    return sample


def shown(status: ClusterStatus) -> str:
    return "\n".join(cluster_lines(status, Sheet(), NOW))


def test_whose_an_endpoint_is_is_said() -> None:
    """State, mode, owner, and what is kept for later."""
    text = shown(cluster())
    assert "standby, manual; owned by b (epoch 17); 3 sets set aside" in text


def test_a_clock_that_differs_is_told_with_the_way_out() -> None:
    """By how much, and what for."""
    text = shown(cluster())
    assert "its clock is 5 s ahead of ours" in text
    assert "NTP" in text


@pytest.mark.parametrize(
    ("etcd", "word"), [("gone", "not reached"), ("wentBack", "backup"), ("full", "full")]
)
def test_etcd_in_trouble_is_told_with_its_hint(etcd: str, word: str) -> None:
    text = shown(cluster(etcd=etcd, etcdHint="do this", waiting=7, lag=2_500_000))
    assert word in text
    assert "do this" in text
    assert "7 changes, the oldest 2.5 s old" in text


def test_a_takeover_says_what_went_over_and_what_did_not() -> None:
    text = "\n".join(taken_lines({"restored": 12, "lost": 1, "took": 345_678}, Sheet()))
    assert "12 sets in 0.346 s" in text
    assert "1 set: their user agents register again" in text


def test_an_association_of_some_node_is_a_row() -> None:
    """Its owner first; what has expired says so."""
    row: Any = {
        "owner": "b",
        "endpoint": "access",
        "id": "00ff",
        "privateIdentity": "1@ims.example",
        "mechanism": "ipsec-3gpp",
        "state": "inUse",
        "peerAddress": "10.0.0.7",
        "expiresAt": int(NOW + 90) * MICRO,
    }
    (line,) = listed_lines({"association": row}, Sheet(), NOW)
    assert line.startswith("b ")
    assert "expires in 1 min 30 s" in line
    expired = {"association": row | {"expiresAt": 1}}
    assert "expired" in "".join(listed_lines(expired, Sheet(), NOW))  # type: ignore[arg-type]
    assert listed_lines({"association": None}, Sheet(), NOW) == []
