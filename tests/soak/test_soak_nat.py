"""Phones that sleep behind a NAT with the time-outs that Linux really has."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.nat_world import nat_world

#: nf_conntrack_udp_timeout_stream: how long a NAT of Linux remembers UDP both ways.
_REMEMBERED_SECONDS = 120
_SLEEP_SECONDS = 190


@pytest.mark.timeout(900)
def test_soak_nat_is_kept_awake(tmp_path: Path, say: Callable[[str], None]) -> None:
    """RFC 3948 4: three minutes of silence, and a call arrives; without keep-alive it does not.

    The first phone is kept awake as by default, every 20 s. The second one's edge is told not to,
    and its NAT has forgotten it.
    """
    with nat_world(tmp_path / "awake") as world:
        association = world.registered(0)
        port = world.nat_port(association["id"])
        begun = time.monotonic()
        time.sleep(_SLEEP_SECONDS)
        assert world.udp(*world.port_pairs(association)[2], b"INVITE")
        assert world.nat_port(association["id"]) == port
        say(f"called after {time.monotonic() - begun:.0f} s of silence, at port {port} as before")
    silent = "\n[lifetimes]\nnat_keepalive_seconds = 0\n"
    with nat_world(tmp_path / "silent", settings=silent) as world:
        association = world.registered(0)
        time.sleep(_REMEMBERED_SECONDS + 10)
        assert not world.udp_arrives(*world.port_pairs(association)[2])
        say("without keep-alive packets the NAT had forgotten the phone")
