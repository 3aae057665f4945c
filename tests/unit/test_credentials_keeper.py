"""The sets in force: handed out sealed, told of before their end, revoked."""

import asyncio
import fcntl
import gc
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from sad.credentials.story import Step
from sad.model.credential import CredentialRules, CredentialState
from sad.model.errors import NoCredential
from sad.model.file_access import readable_by
from tests.support.api import until
from tests.support.credential_maker import DAY, DOMAIN, NOW, key_pem
from tests.support.credential_world import READER, World, edge, steps
from tests.support.descriptors import open_descriptors


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.keeper.close()


# --- load ----------------------------------------------------------------------------------------


async def test_a_good_set_is_in_force_in_memory_and_on_disk(world: World) -> None:
    """The same bytes both ways; the key file is for its readers alone."""
    assert await world.load() == ()
    (view,) = world.keeper.views()
    assert view.state is CredentialState.VALID
    assert view.facts is not None
    assert view.facts.names == (DOMAIN,)

    sources = [(world.source / f"{n}.pem").read_bytes() for n in ("certificate", "key", "ca")]
    assert world.read() == sources
    names = ("certificate.pem", "key.pem", "ca.pem")
    assert [(world.current / name).read_bytes() for name in names] == sources
    assert world.current.readlink() == Path(view.generation)
    for folder in (world.out, world.out / "access", world.current):
        assert folder.stat().st_mode & 0o777 == 0o711  # passed through, not looked around in
    assert (world.current / "certificate.pem").stat().st_mode & 0o777 == 0o444
    key = world.current / "key.pem"
    expected = readable_by(frozenset({READER}), None)
    assert os.getxattr(key, "system.posix_acl_access") == expected
    if os.geteuid() == 0:  # the kernel's own word: only root can be somebody else
        make_reachable(key)
        assert as_user(key, READER, os.O_RDONLY)
        assert not as_user(key, READER, os.O_WRONLY)
        assert not as_user(key, READER + 1, os.O_RDONLY)


def as_user(path: Path, uid: int, flags: int) -> bool:
    """Try as another user, without his groups: in a child, for good."""
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            os.open(path, flags)
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def make_reachable(path: Path) -> None:
    """The folders of pytest are its user's alone."""
    for parent in path.parents:
        if parent.name.startswith(("pytest-", "test_")):
            parent.chmod(0o755)


async def test_what_is_handed_out_is_sealed_and_read_on_its_own(world: World) -> None:
    """memfd_create(2): nobody changes it; two readers do not share a position."""
    await world.load()
    first = world.keeper.hand_out("access", None).descriptors
    second = world.keeper.hand_out("access", None).descriptors
    try:
        for descriptor in first:
            seals = fcntl.fcntl(descriptor, fcntl.F_GET_SEALS)
            assert seals & fcntl.F_SEAL_WRITE
            assert seals & fcntl.F_SEAL_SHRINK
            assert seals & fcntl.F_SEAL_GROW
            assert seals & fcntl.F_SEAL_SEAL
            assert not os.get_inheritable(descriptor)
            with pytest.raises(PermissionError):
                os.truncate(f"/proc/self/fd/{descriptor}", 0)
        assert os.read(first[0], 100) == os.read(second[0], 100)
    finally:
        for descriptor in (*first, *second):
            os.close(descriptor)


async def test_who_has_the_generation_gets_no_descriptors(world: World) -> None:
    """Asking again and again costs nothing."""
    await world.load()
    generation = world.keeper.hand_out("access", world.generation()).generation
    assert world.keeper.hand_out("access", generation).descriptors == ()


async def test_no_descriptor_is_left_behind(world: World) -> None:
    """Neither by good replacements nor by bad ones, nor by the end."""
    gc.collect()
    before = open_descriptors()
    for texts in ((), (edge(),), (edge(), key_pem("ec other")), (edge(ends=NOW + 9 * DAY),)):
        await world.load(*texts)
        world.read()
    world.keeper.revoke("access")
    world.keeper.close()
    gc.collect()
    assert open_descriptors() == before


# --- time ----------------------------------------------------------------------------------------


async def test_the_end_is_told_in_steps_and_by_time_alone(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """RFC 5280 4.1.2.5: from 30 days before; nothing is loaded again for it."""
    await world.load(edge(ends=NOW + 100 * DAY))
    told = []
    for days in (0, 69, 71, 72, 92.5, 93.5, 99.5, 99.9, 100.5, 101):
        world.now = (NOW + days * DAY).timestamp()
        caplog.clear()
        world.keeper.rejudge()
        told.append(steps(caplog))
    expiring, none = [Step.EXPIRING], list[Step]()
    assert told == [
        *(none, none, expiring, none, none, expiring, expiring, none, [Step.EXPIRED], none)
    ]
    (view,) = world.keeper.views()
    assert view.state is CredentialState.EXPIRED
    assert [w.reason for w in view.warnings] == ["expired"]
    with pytest.raises(NoCredential, match="has expired"):
        world.keeper.hand_out("access", None)


async def test_metrics_learn_when_each_set_ends(world: World) -> None:
    """From a month before and from a year before alike: whoever watches has his own days."""
    assert world.keeper.expiries() == ()
    await world.load(edge(ends=NOW + 100 * DAY))
    (expiry,) = world.keeper.expiries()
    assert (expiry.kind, expiry.name) == ("certificate", "access")
    assert expiry.at == (NOW + 100 * DAY).timestamp()
    world.keeper.revoke("access")
    assert world.keeper.expiries() == ()


async def test_the_days_of_warning_are_a_setting(world: World) -> None:
    """For an authority that issues for a week."""
    await world.load(edge(ends=NOW + 5 * DAY))
    assert [w.reason for w in world.keeper.views()[0].warnings] == ["expires-soon"]
    assert "expires in 5 days" in world.keeper.views()[0].warnings[0].text
    world.rules = CredentialRules(directory=str(world.out), warning_days=3)
    await world.load(edge(ends=NOW + 5 * DAY))
    assert world.keeper.views()[0].warnings == ()


async def test_the_clock_is_looked_at_in_time(world: World) -> None:
    """Just after the next step is due, and at least every hour: the clock may be set."""
    await world.load(edge(ends=NOW + 100 * DAY))
    assert world.keeper.rejudge() == 3600
    world.now = (NOW + 70 * DAY).timestamp() - 60
    assert world.keeper.rejudge() == pytest.approx(61)


async def test_the_task_that_looks_hears_of_new_sets(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """One loaded within its last days is told of at once, not after the hour."""
    caplog.set_level(logging.INFO)
    task = asyncio.ensure_future(world.keeper.run())
    await asyncio.sleep(0)
    await world.load(edge(ends=NOW + 2 * DAY))
    await until(lambda: Step.EXPIRING in steps(caplog))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


# --- revocation ----------------------------------------------------------------------------------


async def test_a_revoked_set_is_out_of_force_everywhere(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever agreed with it is told; its key is never taken again, a new one is."""
    heard: list[tuple[str, str]] = []
    world.keeper.on_revoked.append(lambda *about: heard.append(about))
    await world.load()
    generation = world.generation()

    assert world.keeper.revoke("access") == generation
    assert heard == [("access", generation)]
    assert world.keeper.generation("access") is None
    assert world.keeper.views()[0].state is CredentialState.REVOKED
    assert not (world.out / "access").exists()
    assert Step.REVOKED in steps(caplog)
    with pytest.raises(NoCredential, match="revoked"):
        world.keeper.hand_out("access", None)
    with pytest.raises(NoCredential):
        world.keeper.revoke("access")

    assert await world.load(edge(ends=NOW + 9 * DAY)) == ("access",)
    assert [r.reason for r in world.keeper.views()[0].refusals] == ["revoked"]
    assert await world.load(edge("ec new"), key_pem("ec new")) == ()
    assert world.keeper.views()[0].state is CredentialState.VALID
    assert len(world.read()) == 3


# --- secrets -------------------------------------------------------------------------------------


async def test_no_key_is_ever_in_words(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Views, refusals and log records, of good sets and of bad ones."""
    caplog.set_level(logging.DEBUG)
    said: list[str] = []
    keys = [key_pem("ec edge"), key_pem("ec new"), key_pem("ec new", traditional=True)]
    sets: list[tuple[bytes | None, bytes | None]] = [
        (None, None),
        (edge(), keys[1]),
        (edge("ec new"), keys[1]),
        (edge("ec new"), keys[2]),
        (keys[1], keys[1]),
        (None, keys[1] + keys[0]),
        (None, keys[1][:-40]),
        (None, keys[1].replace(b"M", b"N")),
    ]
    for certificate_text, key_text in sets:
        await world.load(certificate_text, key_text)
        said.append(repr(world.keeper.views()))
        try:
            said.append(repr(world.keeper.hand_out("access", world.generation())))
        except NoCredential as error:
            said.append(str(error))
    said += [repr(record.__dict__) for record in caplog.records]
    lines = {line for key in keys for line in key.decode().splitlines() if "-" not in line}
    assert lines
    assert not [line for line in lines for text in said if line in text]
