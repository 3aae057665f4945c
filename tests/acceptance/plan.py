"""Addresses, ports and patience of the acceptance run: what both machines and the driver know.

Pure, and standard library only: the machine ``ue`` reads it too. The counterpart of
``vagrant/Vagrantfile`` (addresses) and ``vagrant/provision`` (everything else).
"""

import os
from typing import Final

EDGE: Final = {4: "10.20.0.10", 6: "2001:db8:20::10"}
UE: Final = {4: "10.20.0.20", 6: "2001:db8:20::20"}
CORE: Final = "10.30.0.20"
#: Phones behind a NAT: the network namespace on ``ue``, its gateway, what they may have inside.
BEHIND: Final = "behind"
GATEWAY: Final = {4: "192.168.7.1", 6: "fd00:7::1"}
PRIVATE: Final = {4: ("192.168.7.2", "192.168.7.3"), 6: ("fd00:7::2", "fd00:7::3")}
ACCESS_PORT: Final = 5060
CORE_PORT: Final = 4060
PORT_PS: Final = 5064
TLS_PORT: Final = 5061
#: ESP in UDP (RFC 3948).
NAT_PORT: Final = 4500
PROTECTED: Final = frozenset({PORT_PS, 5068, 5069, 5070, 5071})
#: In the payload of what a scenario sends in clear on purpose.
CLEAR_PROBE: Final = b"clear-probe"
#: Seconds that sets linger after de-registration, and outlive their registration by.
LINGER: Final = 3
MARGIN: Final = 3

#: Longest wait for one thing, in seconds: a guest without KVM on a busy machine is slow.
PATIENCE: Final = float(os.environ.get("SAD_ACCEPTANCE_PATIENCE", "180"))
#: SIP timer T1 of UEs and S-CSCF in seconds; 64*T1 is the longest wait for an answer.
T1: Final = float(os.environ.get("SAD_ACCEPTANCE_T1", "1.0"))

#: The registrar of profile rfc3329, and the password of its users.
DOMAIN: Final = "example.org"
PASSWORD: Final = "of the acceptance run"
#: On ``ue``: a connection of charon, in which _PORT_ stands for that of the phone's SIP.
IKE_TEMPLATE: Final = "/run/acceptance/swanctl.conf"
IKE_CHILD: Final = "to-edge"
