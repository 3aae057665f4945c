"""The machine ``edge`` as its operator sees it: units, sadctl, ip xfrm, the journal."""

import json
import re
from typing import Any, Final

from tests.acceptance.machines import Machine, wait_until

SADCTL: Final = "/opt/sad/bin/sadctl"
DROP_IN: Final = "/run/systemd/system/sad.service.d/acceptance.conf"
SETTINGS: Final = "/etc/sad/sad.toml"


class Edge:
    """One edge node."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.settings = machine.out("cat", SETTINGS)

    def show(self, unit: str, name: str) -> str:
        """Return one property of a unit."""
        return self.machine.out("systemctl", "show", "--value", f"--property={name}", unit).strip()

    def restarts(self) -> int:
        return int(self.show("sad.service", "NRestarts"))

    def is_active(self, unit: str) -> bool:
        return self.show(unit, "ActiveState") == "active"

    def wait_ready(self, unit: str = "sad.service") -> None:
        """Wait until a unit is active."""
        wait_until(lambda: self.is_active(unit), f"{unit} is active")

    def associations(self) -> list[dict[str, Any]]:
        """List what lives."""
        text = self.machine.out(SADCTL, "--json", "list")
        rows = [json.loads(line) for line in text.splitlines()]
        return [row["association"] for row in rows if row.get("association") is not None]

    def states(self) -> list[str]:
        """The states of all associations, sorted."""
        return sorted(a["state"] for a in self.associations())

    def count(self) -> int:
        """SAs in the kernel."""
        return len(
            re.findall(r"(?m)^src ", self.machine.out("ip", "xfrm", "state", "list", "nokeys"))
        )

    def policies(self) -> int:
        """Policies in the kernel, those of sockets left out."""
        return len(
            re.findall(r"(?m)^src ", self.machine.out("ip", "xfrm", "policy", "list", "nosock"))
        )

    def wait_empty(self) -> None:
        """Wait until neither daemon nor kernel hold a set."""
        wait_until(lambda: not self.associations() and not self.count(), "no set is left")

    def journal(self, *arguments: str) -> str:
        """Read the journal."""
        return self.machine.out("journalctl", "--quiet", "--no-pager", *arguments)

    def cursor(self) -> str:
        """Return a mark in the journal, for ``--cursor``.

        Not for ``--after-cursor``: with a filter systemd 252 skips the first line that passes it.
        """
        text = self.journal("--lines=0", "--show-cursor")
        return text.rpartition("-- cursor: ")[2].strip()

    def story(self, cursor: str) -> str:
        """What sad, its guard, Kamailio, systemd and the kernel logged after a mark."""
        told = ("sad", "sad-guard", "/usr/sbin/kamailio", "systemd", "kernel")
        names = [f"--identifier={name}" for name in told]
        return self.journal(f"--cursor={cursor}", "--output=short-precise", *names)

    def since(self, cursor: str, unit: str = "sad.service") -> str:
        """What a unit logged after a mark."""
        return self.journal(f"--cursor={cursor}", f"--unit={unit}", "--output=short-precise")

    def drop_in(self, text: str) -> None:
        """Give sad.service a drop-in until :meth:`restore`."""
        self.machine.write(DROP_IN, text)
        self.machine.run("systemctl", "daemon-reload")

    def restore(self) -> None:
        """Undo what scenarios change, and have everything run."""
        self.machine.write(SETTINGS, self.settings)
        self.machine.shell(
            f"rm -f {DROP_IN}; systemctl daemon-reload; "
            "systemctl start sad-guard.service kamailio.service"
        )
        self.start()
        for association in self.associations():
            self.machine.run(SADCTL, "release", association["id"], check=False)
        self.wait_empty()

    def start(self) -> None:
        """Have sad run, also when it does not want to: its callers start it by its socket."""
        self.machine.shell(
            "systemctl --quiet is-active sad.service || "
            "{ systemctl stop sad.socket sad.service; "
            "systemctl reset-failed sad.socket sad.service; "
            "systemctl start sad.socket sad.service; }"
        )
        self.wait_ready()

    def evidence(self) -> str:
        """What an operator would look at; no keys."""
        commands = (
            "systemctl status --no-pager --lines=5 sad.service sad-guard.service kamailio.service",
            f"{SADCTL} status",
            f"{SADCTL} list",
            "ip -s xfrm state list nokeys",
            "ip xfrm policy list nosock",
            "cat /proc/net/xfrm_stat",
            "nft list ruleset",
        )
        script = "; ".join(f"echo '$ {command}'; {command} 2>&1" for command in commands)
        return self.machine.shell(f"{script}; true")
