"""A client of another implementation: asyncvarlink finds what it expects."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, TypedDict

import pytest
from asyncvarlink import (
    VarlinkClientProtocol,
    VarlinkInterface,
    VarlinkMethodCall,
    VarlinkTransport,
    connect_unix_varlink,
    varlinkmethod,
)
from asyncvarlink.serviceinterface import (
    InterfaceNotFound,
    InvalidParameter,
    MethodNotFound,
    VarlinkServiceInterface,
)

from sad.api.idl import parse_interface
from sad.api.interfaces import load_interfaces
from tests.support import make
from tests.support.api import ASSOCIATIONS, CONTROL, SERVICE, install_parameters, serving
from tests.support.memory_backend import MemoryBackend


class Registration(TypedDict):
    privateIdentity: str
    publicIdentities: list[str]


class Ipsec3gpp(TypedDict):
    ueAddress: str
    pcscfAddress: str
    spiUc: int
    spiUs: int
    spiPc: int
    spiPs: int
    portUc: int
    portUs: int
    portPc: int
    portPs: int
    integrityAlgorithm: str
    encryptionAlgorithm: str
    udpEncapsulation: dict[str, str] | None


class Association(TypedDict):
    id: str
    endpoint: str
    role: str
    mechanism: str
    state: str
    endReason: str | None
    registration: Registration
    ipsec3gpp: Ipsec3gpp | None
    ipsecMan: dict[str, str] | None
    tls: dict[str, str] | None
    ipsecIke: dict[str, str] | None
    createdAt: int
    confirmedAt: int
    expiresAt: int
    secondsLeft: int
    note: str | None


class Associations(VarlinkInterface, name="org.sipsad.Associations"):
    """A part of the interface in the other implementation's own words."""

    @varlinkmethod(return_parameter="association")
    def Confirm(self, *, id: str, expiresSeconds: int) -> Association:  # noqa: A002, N802, N803 - names of the wire
        raise NotImplementedError


@pytest.fixture
async def backend() -> MemoryBackend:
    return MemoryBackend()


@pytest.fixture
async def client(tmp_path: Path, backend: MemoryBackend) -> AsyncIterator[VarlinkClientProtocol]:
    async with serving(tmp_path / "s", backend):
        transport: VarlinkTransport
        transport, protocol = await connect_unix_varlink(VarlinkClientProtocol, tmp_path / "s")
        yield protocol
        transport.close()
        await transport.closed_future


async def call(
    client: VarlinkClientProtocol, method: str, parameters: dict[str, Any]
) -> tuple[str | None, dict[str, Any]]:
    result = await client.call(VarlinkMethodCall(method, parameters))
    assert result is not None
    reply, descriptors = result
    assert not descriptors
    return reply.error, reply.parameters


def id_of(parameters: Any) -> Any:
    return parameters["association"]["id"]


async def test_it_reads_who_serves(client: VarlinkClientProtocol) -> None:
    """GetInfo through its own typed interface."""
    info = await client.make_proxy(VarlinkServiceInterface).GetInfo()

    assert (info["vendor"], info["product"]) == ("sipsad", "sad")
    assert info["interfaces"] == [ASSOCIATIONS, CONTROL, SERVICE]


@pytest.mark.parametrize("name", [ASSOCIATIONS, CONTROL, SERVICE])
async def test_it_reads_the_interfaces(client: VarlinkClientProtocol, name: str) -> None:
    """The description is the file, and can be read again."""
    service = client.make_proxy(VarlinkServiceInterface)
    reply = await service.GetInterfaceDescription(interface=name)

    assert parse_interface(reply["description"]) == load_interfaces()[name]


async def test_our_service_interface_is_its_service_interface() -> None:
    """Both describe ``org.varlink.service`` with the same methods, fields and errors."""
    theirs = parse_interface(VarlinkServiceInterface.render_interface_description())
    ours = load_interfaces()[SERVICE]

    assert theirs.errors == ours.errors
    assert {
        n: (dict(m.parameters.fields), dict(m.results.fields)) for n, m in theirs.methods.items()
    } == {n: (dict(m.parameters.fields), dict(m.results.fields)) for n, m in ours.methods.items()}


async def test_it_recognises_the_service_errors(client: VarlinkClientProtocol) -> None:
    """Each of the protocol's errors arrives as its own type."""
    service = client.make_proxy(VarlinkServiceInterface)
    with pytest.raises(InterfaceNotFound):
        await service.GetInterfaceDescription(interface="org.example.Other")
    for method, parameters, expected in (
        (f"{ASSOCIATIONS}.Grant", {}, MethodNotFound),
        ("org.example.Other.Get", {}, InterfaceNotFound),
        (f"{ASSOCIATIONS}.Get", {"id": 7}, InvalidParameter),
    ):
        error, _ = await call(client, method, parameters)
        assert error == expected.name


async def test_it_installs_and_is_refused(client: VarlinkClientProtocol) -> None:
    """A call with nested parameters, its typed reply, and a typed error of our own."""
    error, reply = await call(client, f"{ASSOCIATIONS}.Install", install_parameters())
    again, refusal = await call(client, f"{ASSOCIATIONS}.Install", install_parameters())
    identifier = reply["association"]["id"]
    ours = client.make_proxy(Associations)
    confirmed = (await ours.Confirm(id=identifier, expiresSeconds=600))["association"]

    assert error is None
    assert (again, refusal["id"]) == (f"{ASSOCIATIONS}.FlowInUse", identifier)
    assert confirmed["secondsLeft"] == 630
    assert make.IK.hex() not in json.dumps([reply, refusal, confirmed])


async def test_it_streams(client: VarlinkClientProtocol, backend: MemoryBackend) -> None:
    """List to its end, and after it a plain call on the same connection."""
    backend.fill(1000)
    more = VarlinkMethodCall(f"{ASSOCIATIONS}.List", {}, more=True)

    ids = [id_of(reply.parameters) async for reply, _ in client.call_more(more)]

    assert ids == [f"{n:012}" for n in range(1000)]
    assert (await call(client, f"{SERVICE}.GetInfo", {}))[0] is None


async def test_it_monitors(client: VarlinkClientProtocol, backend: MemoryBackend) -> None:
    """Events arrive as they happen, not one behind."""
    more = VarlinkMethodCall(f"{ASSOCIATIONS}.Monitor", {}, more=True)
    replies = client.call_more(more)

    ready, _ = await anext(replies)
    backend.put(make.association(id="new"))
    added, _ = await anext(replies)

    assert (ready.parameters["event"], ready.continues) == ("ready", True)
    assert id_of(added.parameters) == "new"
