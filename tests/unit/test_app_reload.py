"""A reload that the kernel does not follow at once: the settings hold in every part."""

import asyncio
import contextlib
import errno
from collections.abc import MutableMapping
from typing import Any

import pytest

from sad.api.methods import Methods
from sad.app_nat import NatTraversal
from sad.app_reload import Reload
from sad.app_settings import Parts, parts_of
from sad.config.settings import Settings
from sad.model.errors import KernelRefused
from sad.model.requests import Caller
from sad.runtime.reloading import Reloading
from sad.runtime.startup import stop
from tests.support.make import EDGE_ADDRESS
from tests.support.shell import Shell, release_of, ue_request

ENDPOINT = {
    "name": "access",
    "addresses": [EDGE_ADDRESS],
    "users": [1000],
}
NEW_OPERATOR = Caller(uid=4711, gid=0, pid=9)


def settings(*, server_port: int = 5064, **values: Any) -> Settings:
    ports = {"server_port": server_port, "client_ports": f"{server_port + 4}-{server_port + 7}"}
    return Settings.model_validate({"endpoint": [ENDPOINT | ports]} | values)


async def nothing_is_missing(_parts: Parts) -> MutableMapping[str, str]:
    return {}


async def no_credentials(_parts: Parts) -> tuple[str, ...]:
    return ()


def reloading(shell: Shell, old: Settings, new: Settings, methods: Methods) -> Reload:
    stack = contextlib.AsyncExitStack()  # no endpoint wants a socket: nothing to close
    return Reload(
        old,
        wanted=asyncio.Event(),
        read=lambda: new,
        probe=nothing_is_missing,
        missing={},
        shared=shell.shared,
        service=shell.service,
        methods=methods,
        nat=NatTraversal(stack, shell.shared, ()),
        reloading=Reloading(shell.shared, shell.endings, shell.reconciler),
        read_keys=lambda: None,
        credentials=no_credentials,
    )


async def test_who_may_do_what_is_taken_over_although_the_kernel_refuses() -> None:
    """The reload says that the settings hold: then they do, for the service as for the socket."""
    shell = Shell()
    old, new = settings(), settings(control_groups=["root"])
    methods = Methods(shell.service, parts_of(old).access)
    association = await shell.install()
    shell.kernel.fail_message(1, errno.ENOMEM)

    with pytest.raises(KernelRefused):
        await reloading(shell, old, new, methods).reload()

    assert methods.policy.may_control(NEW_OPERATOR)
    released = await shell.service.release(NEW_OPERATOR, release_of(association.id))
    assert [a.id for a in released] == [association.id]


@pytest.mark.parametrize("turns", [1, 5, 10, 15, 20])
async def test_a_stop_in_the_middle_leaves_no_block_policy_behind(turns: int) -> None:
    """Those of endpoints that have just gone have no time limit: nobody would lift them."""
    shell = Shell(remove_on_stop=True)
    await shell.reconciler.reconcile("start")
    old, new = settings(stop="remove"), settings(stop="remove", server_port=6064)
    methods = Methods(shell.service, parts_of(old).access)
    for number in range(20):
        await shell.install(ue_request(number))
    reload = asyncio.ensure_future(reloading(shell, old, new, methods).reload())
    for _ in range(turns):
        await asyncio.sleep(0)

    reload.cancel()
    await asyncio.gather(reload, return_exceptions=True)
    await stop(shell.shared, shell.endings)

    assert shell.snapshot == (set(), {})
    assert shell.journal.rows == {}
