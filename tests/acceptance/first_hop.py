"""The machine ``edge`` as registrar and first hop of profile rfc3329, for a while."""

import contextlib
import re
from collections.abc import Iterator, Mapping
from typing import Final

from sip_hooks.secagree.digest import hash_a1
from tests.acceptance.edge import SETTINGS
from tests.acceptance.plan import DOMAIN, EDGE, PASSWORD
from tests.acceptance.world import World
from tests.suite import ROOT

#: Where sad writes the TLS credential set of the endpoint.
CREDENTIALS: Final = "/run/sad-tls/access/current"
_EXAMPLE: Final = ROOT / "sip_hooks/kamailio/example-rfc3329.cfg"
_KAMAILIO: Final = "/etc/kamailio/kamailio.cfg"
_ROUTES: Final = "/opt/sad/share/kamailio/sad-rfc3329.cfg"
_VALUES: Final = {
    "_ACCESS4_": EDGE[4],
    "_ACCESS6_": EDGE[6],
    "_DOMAIN_": DOMAIN,
    "_CERTIFICATE_": f"{CREDENTIALS}/certificate.pem",
    "_KEY_": f"{CREDENTIALS}/key.pem",
    "_AUTHORITIES_": f"{CREDENTIALS}/ca.pem",
}


def kamailio(switches: tuple[str, ...], users: Mapping[str, str]) -> str:
    """The shipped example with this node's values; ``switches`` are on, ``users`` have H(A1).

    A guest without KVM is slow: what is 200 ms elsewhere takes seconds here.
    """
    text = _EXAMPLE.read_text()
    for name, value in _VALUES.items():
        text = _replaced(rf'(?m)^#!substdef "!{name}!.*$', f'#!substdef "!{name}!{value}!g"', text)
    for switch in switches:
        text = _replaced(rf"(?m)^##!define {switch}$", f"#!define {switch}", text)
    text = _replaced(r'(?m)^sad.timeout_ms = "\d+"', 'sad.timeout_ms = "5000"', text)
    # So that a scenario may wait for the end of a registration.
    text = _replaced(
        r'(?m)^(?=modparam\("registrar", )', 'modparam("registrar", "min_expires", 1)\n', text
    )
    rows = "".join(
        f'    $sht(sad_users=>{user}@{DOMAIN}) = "{ha1}";\n' for user, ha1 in users.items()
    )
    return f"{text}\nevent_route[htable:mod-init] {{\n{rows}}}\n"


def _replaced(pattern: str, replacement: str, text: str) -> str:
    changed, count = re.subn(pattern, replacement.replace("\\", r"\\"), text)
    assert count == 1, pattern
    return changed


def endpoint(mechanisms: tuple[str, ...]) -> str:
    """Settings of sad whose one endpoint requires one of a list; more of it may follow."""
    listed = ", ".join(f'"{mechanism}"' for mechanism in mechanisms)
    return f"""
socket_group = "sad"
[lifetimes]
registration_margin_seconds = 3
[[endpoint]]
name = "access"
addresses = ["{EDGE[4]}", "{EDGE[6]}"]
server_port = 5064
client_ports = "5068-5071"
users = ["kamailio"]
profile = "rfc3329"
mechanisms = [{listed}]
"""


@contextlib.contextmanager
def first_hop(world: World, settings: str, switches: tuple[str, ...]) -> Iterator[None]:
    """Have Kamailio and sad play it, for the users alice and bob; undo it at the end."""
    edge, machine = world.edge, world.edge.machine
    users = {user: hash_a1(user, DOMAIN, PASSWORD) for user in ("alice", "bob")}
    world.keys += [bytes.fromhex(ha1) for ha1 in users.values()]
    before = machine.out("cat", _KAMAILIO)
    machine.write(SETTINGS, settings)
    machine.write(_KAMAILIO, kamailio(switches, users))
    machine.shell(
        f"chown root:kamailio {_KAMAILIO}; chmod 640 {_KAMAILIO}; cp {_ROUTES} /etc/kamailio/"
    )
    try:
        machine.shell("systemctl restart sad.service && systemctl restart kamailio.service")
        yield
        world.look("before the edge is a P-CSCF again")
    finally:
        machine.write(SETTINGS, edge.settings)
        machine.write(_KAMAILIO, before)
        machine.shell(
            "systemctl restart sad.service; systemctl restart kamailio.service", check=False
        )
