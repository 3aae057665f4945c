"""A keeper of credential sets with its files, its clock, and a reload command that is counted."""

import os
from pathlib import Path
from typing import Any

import pytest

from sad.credentials.keeper import CredentialKeeper
from sad.credentials.reading import Place
from sad.credentials.story import Step
from sad.model.credential import CredentialRules, WantedCredential
from tests.support.credential_maker import NOW, certificate, pem, write_set

OWNERS = frozenset({os.geteuid()})
READER = 4711


def edge(key: str = "ec edge", **wishes: Any) -> bytes:
    return pem(certificate("edge", key, "root", "ec root", **wishes))


class World:
    """A keeper, its source files and the directory for the SIP server."""

    def __init__(self, folder: Path) -> None:
        self.source = folder / "source"
        self.out = folder / "out"
        self.called = folder / "called"
        self.now = NOW.timestamp()
        self.rules = CredentialRules(directory=str(self.out), command_seconds=20)
        self.keeper = self.again()

    def again(self) -> CredentialKeeper:
        """As after a restart."""
        self.keeper = CredentialKeeper(self.rules, Place(None, OWNERS), lambda: self.now)
        return self.keeper

    def command(self, status: int = 0) -> tuple[str, ...]:
        return "/bin/sh", "-c", f"echo x >> {self.called}; exit {status}"

    @property
    def calls(self) -> int:
        return self.called.read_text().count("x") if self.called.exists() else 0

    def write(self, *texts: bytes | None, **changes: Any) -> WantedCredential:
        values: dict[str, Any] = {
            "readers": frozenset({READER}),
            "reload_command": self.command(),
        }
        return write_set(self.source, *texts, **(values | changes))

    async def load(self, *texts: bytes | None, **changes: Any) -> tuple[str, ...]:
        wish = self.write(*texts, **changes)
        return await self.keeper.take_over({"access": wish}, self.rules)

    @property
    def current(self) -> Path:
        return self.out / "access" / "current"

    def generation(self) -> str:
        return self.keeper.views()[0].generation

    def read(self) -> list[bytes]:
        """What is handed out, in order."""
        handed = self.keeper.hand_out("access", None)
        texts = []
        for descriptor in handed.descriptors:
            with os.fdopen(descriptor, "rb") as opened:
                texts.append(opened.read())
        return texts


def steps(caplog: pytest.LogCaptureFixture) -> list[Step]:
    return [Step(r.__dict__["MESSAGE_ID"]) for r in caplog.records if "MESSAGE_ID" in r.__dict__]
