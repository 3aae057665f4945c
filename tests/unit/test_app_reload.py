"""A reload that the kernel does not follow at once: the settings hold in every part."""

import asyncio
import errno
from collections.abc import MutableMapping
from typing import Any

import pytest

from sad.api.methods import Methods
from sad.app_reload import Reload
from sad.app_settings import Parts, parts_of
from sad.config.settings import Settings
from sad.model.errors import KernelRefused
from sad.model.requests import Caller
from sad.runtime.reloading import Reloading
from tests.support.make import EDGE_ADDRESS
from tests.support.shell import Shell, release_of

ENDPOINT = {
    "name": "access",
    "addresses": [EDGE_ADDRESS],
    "server_port": 5064,
    "client_ports": "5068-5071",
    "users": [1000],
}
NEW_OPERATOR = Caller(uid=4711, gid=0, pid=9)


def settings(**values: Any) -> Settings:
    return Settings.model_validate({"endpoint": [ENDPOINT]} | values)


async def nothing_is_missing(_parts: Parts) -> MutableMapping[str, str]:
    return {}


async def test_who_may_do_what_is_taken_over_although_the_kernel_refuses() -> None:
    """The reload says that the settings hold: then they do, for the service as for the socket."""
    shell = Shell()
    old, new = settings(), settings(control_groups=["root"])
    methods = Methods(shell.service, parts_of(old).access)
    reload = Reload(
        old,
        wanted=asyncio.Event(),
        read=lambda: new,
        probe=nothing_is_missing,
        missing={},
        shared=shell.shared,
        service=shell.service,
        methods=methods,
        reloading=Reloading(shell.shared, shell.endings, shell.reconciler),
    )
    association = await shell.install()
    shell.kernel.fail_message(1, errno.ENOMEM)

    with pytest.raises(KernelRefused):
        await reload.reload()

    assert methods.policy.may_control(NEW_OPERATOR)
    released = await shell.service.release(NEW_OPERATOR, release_of(association.id))
    assert [a.id for a in released] == [association.id]
