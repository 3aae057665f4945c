"""A daemon's inside whose endpoint speaks TLS, with connections in memory."""

import asyncio
import dataclasses
from typing import Any

from netlink.tcp import TcpConnection
from sad.model.association import Association
from sad.model.requests import ConfirmRequest, ListFilter
from tests.support.make import (
    EDGE_ADDRESS,
    TLS_ENDPOINT,
    TLS_PORT,
    UE_ADDRESS,
    attach_request,
    endpoint,
)
from tests.support.shell import USER, Shell

PEER_PORT = 40001
CONNECTION = TcpConnection(EDGE_ADDRESS, TLS_PORT, UE_ADDRESS, PEER_PORT)
OTHER = dataclasses.replace(CONNECTION, peer_port=PEER_PORT + 1)
LISTS = {"security_verify": ("tls",), "security_client": ("tls",)}


def shell_of(**changes: Any) -> Shell:
    """A daemon whose endpoint speaks TLS, two connections, and a stream of their endings."""
    shell = Shell(endpoints={"access": endpoint(**(TLS_ENDPOINT | changes))})
    shell.connections.alive = {CONNECTION, OTHER}
    shell.connections.listen(shell.service.notice_connection, [TLS_PORT])
    return shell


async def attach(shell: Shell, **changes: Any) -> Association:
    return (await shell.service.attach(USER, attach_request(**changes))).association


async def confirm(shell: Shell, association: Association, seconds: int = 600) -> Association:
    request = ConfirmRequest(association_id=association.id, expires_seconds=seconds)
    return await shell.service.confirm(USER, request)


async def settle(shell: Shell) -> None:
    for _ in range(5):
        await asyncio.sleep(0)
    await shell.shared.background.drain()


def live(shell: Shell) -> list[Association]:
    return list(shell.service.list_associations(USER, ListFilter()))
