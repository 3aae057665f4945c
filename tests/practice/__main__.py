"""``make practice``, ``make phone``, ``make practice-end``: something to register at a fresh node.

Runs as root beside ``sad`` and Kamailio, in the environment of the ``sad`` that is installed.
"""

import argparse
import asyncio
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.demo.story import Story
from tests.practice import network
from tests.practice.phone import Unregistered, play

_NAMESPACE = Path("/run/netns", network.NAMESPACE)


def ip(commands: Sequence[Sequence[str]]) -> None:
    """Run ``ip`` once for each command; its own words go to standard error."""
    for command in commands:
        subprocess.run(["ip", *command], check=True)


def make_network() -> int:
    """Have the practice network; one that is there stays."""
    if not _NAMESPACE.exists():
        try:
            ip(network.up())
        except subprocess.CalledProcessError:
            subprocess.run(["ip", "netns", "delete", network.NAMESPACE], check=False)
            raise
    print(
        f"practice: this node has {network.EDGE[4]}, {network.EDGE[6]} and {network.EDGE_CORE};"
        f" behind them are a phone and a core (ip netns: {network.NAMESPACE})"
    )
    return 0


def remove_network() -> int:
    """Remove the practice network, if it is there."""
    if _NAMESPACE.exists():
        ip(network.down())
    print("practice: the network is removed")
    return 0


def use_phone() -> int:
    """Register a phone through the node; the status is 0 when every claim held."""
    if not _NAMESPACE.exists():
        print("practice: there is no practice network: make practice", file=sys.stderr)
        return 1
    story = Story()
    try:
        asyncio.run(play(story))
    except Unregistered as refused:
        print(f"practice: {refused}", file=sys.stderr)
        return 1
    return story.verdict()


def main(arguments: Sequence[str]) -> int:
    """Do one of the three."""
    actions = {"network": make_network, "phone": use_phone, "end": remove_network}
    parser = argparse.ArgumentParser(prog="tests.practice", description=__doc__)
    parser.add_argument("action", choices=actions)
    options = parser.parse_args(arguments)
    if os.getuid() != 0:
        print("practice: only root makes networks and SAs: sudo make ...", file=sys.stderr)
        return 1
    try:
        return actions[options.action]()
    except subprocess.CalledProcessError as error:
        print(f"practice: {' '.join(error.cmd)} failed", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
