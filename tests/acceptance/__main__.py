"""``make acceptance``: the service in two machines, from nothing to a table of scenarios.

libvirt, box and sad's files, ``vagrant up``, scenarios, ``vagrant destroy``. Logs lie in
``build/acceptance``; the status is 0 only when every scenario ran and passed.
"""

import argparse
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence

from tests.acceptance import libvirt
from tests.acceptance.capture import Capture
from tests.acceptance.edge import Edge
from tests.acceptance.handsets import Handsets
from tests.acceptance.machines import Vagrant, connected
from tests.acceptance.runner import Result, Scenario, play, save, scenarios, table, verdict
from tests.acceptance.scenarios import (
    agreements,
    failures,
    keeping,
    last,
    mechanisms,
    nat,
    registration,
    service,
)
from tests.acceptance.world import World
from tests.suite import ROOT

RESULTS = ROOT / "build/acceptance"
#: In this order: the last ones judge the whole run.
MODULES = (registration, mechanisms, nat, agreements, service, keeping, failures, last)


def main(arguments: Sequence[str]) -> int:
    """Do it all; return the exit status."""
    parser = argparse.ArgumentParser(prog="tests.acceptance", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave the machines running")
    parser.add_argument(
        "--only", nargs="+", default=[""], metavar="TEXT", help="scenarios with this in the name"
    )
    options = parser.parse_args(arguments)
    begun = time.monotonic()
    wanted = scenarios(MODULES, options.only)
    shutil.rmtree(RESULTS, ignore_errors=True)
    RESULTS.mkdir(parents=True)
    results: list[Result] = []
    try:
        with libvirt.running(ROOT / "build/vagrant/host") as how:
            say(begun, how)
            run(wanted, results, begun, keep=options.keep)
    except (AssertionError, OSError, libvirt.HostError, subprocess.SubprocessError) as error:
        print(f"acceptance: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("acceptance: interrupted", file=sys.stderr)
    results += [Result(one.name, None, 0.0) for one in wanted[len(results) :]]
    told = table(results, time.monotonic() - begun)
    save(RESULTS, told)
    print(told)
    return verdict(results)


def run(wanted: Sequence[Scenario], results: list[Result], begun: float, *, keep: bool) -> None:
    """Have the machines, play the scenarios, give the machines back."""
    vagrant = Vagrant(RESULTS / "vagrant.log")
    try:
        vagrant.up()
        say(begun, "both machines are up")
        with (
            connected(vagrant) as machines,
            Handsets(machines["ue"], RESULTS / "phones.log") as phones,
        ):
            world = World(
                edge=Edge(machines["edge"]),
                ue=machines["ue"],
                phones=phones,
                capture=Capture(machines["ue"], RESULTS / "access.pcap"),
                folder=RESULTS,
            )
            for one in wanted:
                results.append(play(one, world))
                say(begun, f"{'ok    ' if results[-1].passed else 'FAILED'} {one.name}")
    finally:
        if not keep:
            vagrant.destroy()
            say(begun, "both machines are destroyed")


def say(begun: float, text: str) -> None:
    """Say how far it is."""
    print(f"[{time.monotonic() - begun:5.0f} s] {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
