"""The practice network: the addresses of the shipped examples, and a namespace behind them.

Pure. The node gets the addresses of ``example-ims.cfg`` (documentation's own, RFC 5737 and RFC
3849) on two links; at their other ends, in one network namespace, live a phone and a core::

    node  192.0.2.1, 2001:db8::1   sad-access -- access   192.0.2.17, 2001:db8::17   phone
    node  198.51.100.1             sad-core   -- core     198.51.100.2               S-CSCF
"""

from typing import Final

NAMESPACE: Final = "sad-practice"
EDGE: Final = {4: "192.0.2.1", 6: "2001:db8::1"}
PHONE: Final = {4: "192.0.2.17", 6: "2001:db8::17"}
EDGE_CORE: Final = "198.51.100.1"
CORE: Final = "198.51.100.2"
SIP_PORT: Final = 5060
SERVER_PORT: Final = 5064

#: Interface of the node, of the namespace, addresses of the node, of the namespace.
_LINKS: Final = (
    (
        "sad-access",
        "access",
        (f"{EDGE[4]}/24", f"{EDGE[6]}/64"),
        (f"{PHONE[4]}/24", f"{PHONE[6]}/64"),
    ),
    ("sad-core", "core", (f"{EDGE_CORE}/24",), (f"{CORE}/24",)),
)


def up() -> list[list[str]]:
    """Return the arguments of ``ip`` that make it all, in order."""
    inside = ["-n", NAMESPACE]
    commands = [["netns", "add", NAMESPACE], [*inside, "link", "set", "lo", "up"]]
    for ours, theirs, our_addresses, their_addresses in _LINKS:
        commands.append(
            ["link", "add", ours, "type", "veth", "peer", "name", theirs, "netns", NAMESPACE]
        )
        for where, name, addresses in (
            ([], ours, our_addresses),
            (inside, theirs, their_addresses),
        ):
            for address in addresses:
                # An address that is still being looked for elsewhere cannot be listened on.
                lonely = ["nodad"] if ":" in address else []
                commands.append([*where, "address", "add", address, "dev", name, *lonely])
            commands.append([*where, "link", "set", name, "up"])
    return commands


def down() -> list[list[str]]:
    """Return the arguments of ``ip`` that remove it; the links go with the namespace."""
    return [["netns", "delete", NAMESPACE]]
