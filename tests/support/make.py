"""Values for tests: legal ones by default, anything by keyword."""

from typing import Any

from netlink.secret import Secret
from sad.core.decision import Circumstances
from sad.model.agreement import OfferRecord, Transaction
from sad.model.association import Association, AssociationState, Phase
from sad.model.endpoint import Endpoint, Role
from sad.model.requests import AttachRequest, Flow, InstallRequest, OfferRequest
from sad.model.rules import Layout, Lifetimes, Limits
from sad.model.sa_set import SaSetParameters

# The keys of TS 35.208 test set 1 (norms section 17).
CK = bytes.fromhex("b40ba9a3c58b2a05bbf0d987b21bf8cb")
IK = bytes.fromhex("f769bcd751044604127672711c6d3441")

EDGE_ADDRESS = "10.10.0.1"
UE_ADDRESS = "10.10.0.2"
OWNER = 0x5AD05AD0
LAYOUT = Layout(owner=OWNER)
LIFETIMES = Lifetimes()
#: Every pair that Annex H allows or allowed, and those of the extension (T33-H-c).
ALL_PAIRS = (
    *(
        (alg, ealg)
        for alg in ("hmac-sha-1-96", "hmac-md5-96", "hmac-sha-256-128")
        for ealg in ("null", "aes-cbc", "des-ede3-cbc")
    ),
    ("null", "aes-gcm"),
    ("aes-gmac", "null"),
)


def endpoint(**changes: Any) -> Endpoint:
    """An edge endpoint with every algorithm on."""
    values: dict[str, Any] = {
        "name": "access",
        "addresses": (EDGE_ADDRESS, "2001:db8:1::1"),
        "server_port": 5064,
        "client_ports": (5068, 5069, 5070, 5071),
        "uids": frozenset({0, 1000}),
        "roles": frozenset({Role.EDGE, Role.UE}),
        "algorithms": ALL_PAIRS,
        "spi_range": (65536, 0x7FFFFFFF),
    }
    return Endpoint(**(values | changes))


def install_request(**changes: Any) -> InstallRequest:
    """An edge install with everything given."""
    values: dict[str, Any] = {
        "endpoint": "access",
        "role": Role.EDGE,
        "private_identity": "001010000000001@ims.example",
        "public_identities": ("sip:+15550001@ims.example",),
        "mechanism": "ipsec-3gpp",
        "ue_address": UE_ADDRESS,
        "pcscf_address": EDGE_ADDRESS,
        "spi_uc": 25656,
        "spi_us": 25657,
        "spi_pc": 70001,
        "spi_ps": 70002,
        "port_uc": 6301,
        "port_us": 6300,
        "port_pc": 5068,
        "port_ps": 5064,
        "integrity_algorithm": "hmac-sha-1-96",
        "encryption_algorithm": "null",
        "integrity_key": Secret(IK),
        "cipher_key": Secret(CK),
    }
    return InstallRequest(**(values | changes))


SECURITY_CLIENT = (
    "ipsec-3gpp;alg=hmac-sha-1-96;ealg={ealg};prot=esp;mod=trans"
    ";spi-c={spi_c};spi-s={spi_s};port-c={port_c};port-s={port_s}"
)


def security_client(**changes: Any) -> str:
    """A row of Security-Client with the SPIs and ports of :func:`install_request`."""
    values = {"ealg": "null", "spi_c": 25656, "spi_s": 25657, "port_c": 6301, "port_s": 6300}
    return SECURITY_CLIENT.format(**(values | changes))


def clear_flow(**changes: Any) -> Flow:
    """How an unprotected REGISTER comes."""
    values: dict[str, Any] = {
        "peer_address": UE_ADDRESS,
        "peer_port": 5060,
        "local_address": EDGE_ADDRESS,
        "local_port": 5060,
    }
    return Flow(**(values | changes))


def offer_request(**changes: Any) -> OfferRequest:
    """An Offer for an unprotected REGISTER; ``ue`` (a dict) changes its Security-Client."""
    ue = changes.pop("ue", {})
    call_id = changes.pop("call_id", "a84b4c76e66710@ue")
    values: dict[str, Any] = {
        "endpoint": "access",
        "private_identity": "001010000000001@ims.example",
        "public_identities": ("sip:+15550001@ims.example",),
        "flow": clear_flow(),
        "transaction": Transaction(call_id=call_id, cseq=1, branch="z9hG4bK776asdhds"),
        "association_id": None,
        "security_client": (security_client(**ue),),
        "integrity_key": Secret(IK),
        "cipher_key": Secret(CK),
    }
    return OfferRequest(**(values | changes))


def offer_record(**changes: Any) -> OfferRecord:
    """What an unprotected Offer leaves behind."""
    values: dict[str, Any] = {
        "offer_key": "0" * 32,
        "offered_on": None,
        "security_client": security_client(),
        "security_server": "ipsec-3gpp;alg=hmac-sha-1-96",
    }
    return OfferRecord(**(values | changes))


def sa_set(**changes: Any) -> SaSetParameters:
    """The parameters of :func:`install_request`."""
    names = SaSetParameters.__struct_fields__
    request = install_request()
    values = {name: getattr(request, name) for name in names}
    return SaSetParameters(**(values | changes))


TLS_PORT = 5061
TLS_ENDPOINT = {"ims_mechanisms": ("ipsec-3gpp", "tls"), "tls_port": TLS_PORT}


def tls_flow(**changes: Any) -> Flow:
    """How a request comes over TLS."""
    values: dict[str, Any] = {"peer_port": 40001, "local_port": TLS_PORT}
    return clear_flow(**(values | changes))


def attach_request(**changes: Any) -> AttachRequest:
    """The first request over a connection that nothing was offered for."""
    values: dict[str, Any] = {
        "endpoint": "access",
        "private_identity": "001010000000001@ims.example",
        "public_identities": ("sip:+15550001@ims.example",),
        "flow": tls_flow(),
    }
    return AttachRequest(**(values | changes))


def association(**changes: Any) -> Association:
    """An installed, established association that ends at 1000 s; ``sa_set`` may be given."""
    if "sa_set" in changes:
        changes["ipsec_3gpp"] = changes.pop("sa_set")
    values: dict[str, Any] = {
        "id": "000000000001",
        "endpoint": "access",
        "private_identity": "001010000000001@ims.example",
        "public_identities": (),
        "mechanism": "ipsec-3gpp",
        "state": AssociationState.ESTABLISHED,
        "phase": Phase.INSTALLED,
        "ipsec_3gpp": sa_set(),
        "reqid_in": 0x2000_0001,
        "reqid_out": (0x2000_0002, 0x2000_0003),
        "created_at": 1_700_000_000.0,
        "confirmed_at": 1_700_000_000.0,
        "deadline_at": 1000.0,
        "policies_until": 700_000.0,
    }
    return Association(**(values | changes))


def second_set(**changes: Any) -> Association:
    """A re-registration beside :func:`association`: new SPIs and client ports, same servers."""
    values: dict[str, Any] = {
        "id": "000000000002",
        "sa_set": sa_set(
            spi_uc=35656, spi_us=35657, spi_pc=80001, spi_ps=80002, port_uc=6302, port_pc=5069
        ),
        "reqid_out": (0x2000_0004, 0x2000_0005),
    }
    return association(**(values | changes))


def circumstances(**changes: Any) -> Circumstances:
    """Circumstances at BOOTTIME 100 s."""
    values: dict[str, Any] = {
        "layout": LAYOUT,
        "lifetimes": LIFETIMES,
        "limits": Limits(),
        "own_addresses": frozenset({EDGE_ADDRESS, "127.0.0.1"}),
        "missing_algorithms": frozenset(),
        "now": 100.0,
        "realtime": 1_700_000_000.0,
    }
    return Circumstances(**(values | changes))
