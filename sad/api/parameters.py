"""The parameters of each mechanism as the wire shows them. Pure; there are no keys to show."""

from sad.api import shapes
from sad.model.encapsulation import UdpEncapsulation
from sad.model.ike_child import IkeChild
from sad.model.sa_pair import SaPairParameters
from sad.model.sa_set import SaSetParameters
from sad.model.tls_connection import TlsConnection


def ipsec_3gpp(s: SaSetParameters) -> shapes.Ipsec3gpp:
    """Show an SA set."""
    udp = s.encapsulation
    return shapes.Ipsec3gpp(
        ue_address=s.ue_address,
        pcscf_address=s.pcscf_address,
        spi_uc=s.spi_uc,
        spi_us=s.spi_us,
        spi_pc=s.spi_pc,
        spi_ps=s.spi_ps,
        port_uc=s.port_uc,
        port_us=s.port_us,
        port_pc=s.port_pc,
        port_ps=s.port_ps,
        integrity_algorithm=s.integrity_algorithm,
        encryption_algorithm=s.encryption_algorithm,
        udp_encapsulation=None if udp is None else _udp_encapsulation(udp),
    )


def _udp_encapsulation(udp: UdpEncapsulation) -> shapes.UdpEncapsulation:
    return shapes.UdpEncapsulation(
        peer_address=udp.peer_address, peer_port=udp.peer_port, local_port=udp.local_port
    )


def ipsec_man(s: SaPairParameters) -> shapes.IpsecMan:
    """Show a manually keyed pair."""
    return shapes.IpsecMan(
        local_address=s.local_address,
        peer_address=s.peer_address,
        spi_in=s.spi_in,
        spi_out=s.spi_out,
        local_ports=s.local_ports,
        peer_ports=s.peer_ports,
        integrity_algorithm=s.integrity_algorithm,
        encryption_algorithm=s.encryption_algorithm,
        key_set=s.key_set,
        activation=s.activation,
    )


def tls(connection: TlsConnection) -> shapes.Tls:
    """Show a connection; its cookie means something to this kernel alone."""
    return shapes.Tls(
        local_address=connection.local_address,
        local_port=connection.local_port,
        peer_address=connection.peer_address,
        peer_port=connection.peer_port,
        attached=connection.cookie is not None,
        identity=connection.identity,
        credential=connection.credential,
        version=connection.version,
        cipher=connection.cipher,
    )


def ipsec_ike(child: IkeChild) -> shapes.IpsecIke:
    """Show a CHILD_SA."""
    return shapes.IpsecIke(
        local_address=child.local_address,
        peer_address=child.peer_address,
        local_ports=child.local_ports,
        peer_ports=child.peer_ports,
        connection=child.connection,
        child=child.child,
    )
