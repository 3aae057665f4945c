"""The sets in force: replaced whole or not at all, handed out sealed, told of before their end."""

import asyncio
import fcntl
import gc
import logging
import os
from pathlib import Path
from typing import Any

import pytest

from sad.credentials.keeper import Keeper
from sad.credentials.reading import Place
from sad.credentials.story import Step
from sad.model.credential import CredentialRules, CredentialState, WantedCredential
from sad.model.errors import NoCredential
from sad.model.file_access import readable_by
from tests.support.api import until
from tests.support.credential_maker import (
    DAY,
    DOMAIN,
    NOW,
    certificate,
    key_pem,
    pem,
    write_set,
)
from tests.support.descriptors import open_descriptors

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

    def again(self) -> Keeper:
        """As after a restart."""
        self.keeper = Keeper(self.rules, Place(None, OWNERS), lambda: self.now)
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


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def steps(caplog: pytest.LogCaptureFixture) -> list[Step]:
    return [Step(r.__dict__["MESSAGE_ID"]) for r in caplog.records if "MESSAGE_ID" in r.__dict__]


# --- load ----------------------------------------------------------------------------------------


async def test_a_good_set_is_in_force_in_memory_and_on_disk(world: World) -> None:
    """The same bytes both ways; the key file is for its readers alone."""
    assert await world.load() == ()
    (view,) = world.keeper.views()
    assert view.state is CredentialState.IN_FORCE
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


# --- replacement ---------------------------------------------------------------------------------


async def test_a_new_set_is_switched_whole_and_the_server_told_once(world: World) -> None:
    """The old generation is gone, its key with it."""
    await world.load()
    old, old_key = world.generation(), world.read()[1]
    assert world.calls == 0  # the SIP server starts by itself

    assert await world.load(edge("ec new"), key_pem("ec new")) == ()
    assert world.calls == 1
    assert world.generation() != old
    assert (world.current / "key.pem").read_bytes() == world.read()[1] != old_key
    assert sorted(p.name for p in (world.out / "access").iterdir()) == sorted(
        ["current", world.generation()]
    )


async def test_the_same_set_again_changes_nothing(world: World) -> None:
    """A reload for something else: no switch, no command."""
    await world.load()
    key = (world.current / "key.pem").stat()
    text = (world.source / "certificate.pem").read_bytes()
    await world.load(text, None, (world.source / "ca.pem").read_bytes())
    assert (world.current / "key.pem").stat().st_ino == key.st_ino
    assert world.calls == 0


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        ((edge(ends=NOW - DAY),), "expired"),
        ((edge(), key_pem("ec other")), "key-mismatch"),
        ((b"nothing",), "not-pem"),
    ],
)
async def test_a_bad_set_is_refused_and_the_old_one_stays(
    world: World, caplog: pytest.LogCaptureFixture, texts: tuple[bytes, ...], reason: str
) -> None:
    """In memory and on disk, and status says both."""
    await world.load()
    before, generation = world.read(), world.generation()

    assert await world.load(*texts) == ("access",)
    (view,) = world.keeper.views()
    assert view.state is CredentialState.IN_FORCE
    assert [r.reason for r in view.refusals] == [reason]
    assert world.read() == before
    assert (world.current / "key.pem").read_bytes() == before[1]
    assert view.generation == generation
    assert world.calls == 0
    assert Step.REFUSED in steps(caplog)

    await world.load(edge())
    assert world.keeper.views()[0].refusals == ()


async def test_without_a_good_set_there_is_none_and_why_is_told(world: World) -> None:
    """The daemon runs on: a certificate must not take IPsec down with it."""
    await world.load(edge(ends=NOW - DAY))
    (view,) = world.keeper.views()
    assert view.state is CredentialState.MISSING
    with pytest.raises(NoCredential, match="expired") as refused:
        world.keeper.hand_out("access", None)
    assert "renew" in refused.value.hint
    assert not world.current.exists()


async def test_an_endpoint_without_settings_of_a_set_has_none(world: World) -> None:
    """Whether it never had or has no more."""
    with pytest.raises(NoCredential, match="settings name no"):
        world.keeper.hand_out("access", None)
    await world.load()
    await world.keeper.take_over({}, world.rules)
    assert world.keeper.views() == ()
    assert not (world.out / "access").exists()
    with pytest.raises(NoCredential, match="settings name no"):
        world.keeper.hand_out("access", None)


async def test_a_restart_finds_its_own_files(world: World) -> None:
    """What lies there is in use: it is not written again, and nobody is told."""
    await world.load()
    inode = (world.current / "key.pem").stat().st_ino
    world.keeper.close()
    world.again()
    wish = write_set_again(world)
    await world.keeper.take_over({"access": wish}, world.rules)
    assert (world.current / "key.pem").stat().st_ino == inode
    assert world.calls == 0


def write_set_again(world: World, **changes: Any) -> WantedCredential:
    """The wish for the files that lie there already."""
    texts = [(world.source / f"{n}.pem").read_bytes() for n in ("certificate", "key", "ca")]
    return world.write(*texts, **changes)


async def test_a_restart_with_a_new_set_tells_the_server(world: World) -> None:
    """It runs with the old one since before."""
    await world.load()
    world.keeper.close()
    world.again()
    await world.load(edge("ec new"), key_pem("ec new"))
    assert world.calls == 1


async def test_what_somebody_did_to_the_files_is_mended(world: World) -> None:
    """A generation that is not what its name says is written anew."""
    await world.load()
    key = (world.source / "key.pem").read_bytes()
    (world.current / "key.pem").unlink()
    world.keeper.close()
    world.again()
    await world.keeper.take_over({"access": write_set_again(world)}, world.rules)
    assert (world.current / "key.pem").read_bytes() == key


async def test_nothing_of_others_is_touched(world: World) -> None:
    """The directory may hold more than ours, and a folder of ours more than generations."""
    await world.load()
    foreign = world.out / "foreign"
    foreign.mkdir()
    (world.out / "access" / "notes.txt").write_text("mine")
    gone = world.out / "gone"
    gone.mkdir()
    (gone / "current").symlink_to("0123456789abcdef")
    (gone / "0123456789abcdef").mkdir()

    await world.load(edge("ec new"), key_pem("ec new"))
    assert foreign.is_dir()
    assert (world.out / "access" / "notes.txt").read_text() == "mine"
    assert not gone.exists()  # of an endpoint of an earlier life


@pytest.mark.parametrize("spoil", ["file", "writable", "link"])
async def test_a_directory_that_is_not_ours_alone_is_refused(world: World, spoil: str) -> None:
    """Who may write there may put his own key in place of ours."""
    if spoil == "file":
        world.out.write_text("")
    elif spoil == "writable":
        world.out.mkdir()
        world.out.chmod(0o777)
    else:
        (world.out.parent / "elsewhere").mkdir()
        world.out.symlink_to("elsewhere")
    await world.load()
    (view,) = world.keeper.views()
    assert [r.reason for r in view.refusals] == ["cannot-write"]
    assert view.state is CredentialState.MISSING


async def test_without_files_memory_is_enough(world: World) -> None:
    """write_files = false: no key lies on the file system."""
    await world.load(write_files=False)
    assert not world.out.exists()
    assert len(world.read()) == 3
    await world.load(write_files=True)
    assert world.current.exists()
    await world.load(write_files=False)
    assert not world.current.exists()
    assert world.calls == 2


# --- the reload command --------------------------------------------------------------------------


async def test_a_command_that_fails_is_told_and_the_set_stays(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """The SIP server may go on with the old files: that must be seen."""
    await world.load()
    await world.load(edge("ec new"), key_pem("ec new"), reload_command=("/bin/sh", "-c", "exit 7"))
    (view,) = world.keeper.views()
    assert [(w.reason, w.text) for w in view.warnings] == [
        ("reload-failed", "/bin/sh ended with status 7")
    ]
    assert view.state is CredentialState.IN_FORCE
    assert Step.COMMAND_FAILED in steps(caplog)
    await world.load()
    assert world.keeper.views()[0].warnings == ()


async def test_a_command_that_hangs_is_killed_with_its_children(world: World) -> None:
    """Bounded: a reload of sad never waits for ever."""
    await world.load()
    world.rules = CredentialRules(directory=str(world.out), command_seconds=0.2)
    hang = f"sleep 600 & echo $! > {world.called}; wait"
    await world.load(edge("ec new"), key_pem("ec new"), reload_command=("/bin/sh", "-c", hang))
    (view,) = world.keeper.views()
    assert "was killed" in view.warnings[0].text
    child = int(world.called.read_text())
    async with asyncio.timeout(20):
        while Path(f"/proc/{child}/stat").exists():
            state = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0]
            if state == "Z":  # dead; whoever adopted it has not looked
                break
            await asyncio.sleep(0.01)


async def test_a_command_that_is_not_there_is_told(world: World) -> None:
    """A slip in the settings, or a SIP server that was removed."""
    await world.load()
    await world.load(edge("ec new"), key_pem("ec new"), reload_command=("/nowhere/reload",))
    assert "No such file" in world.keeper.views()[0].warnings[0].text


async def test_endpoints_with_one_server_have_it_told_once(world: World) -> None:
    """The same command of several endpoints runs once."""
    await world.load()
    wish = world.write(edge("ec new"), key_pem("ec new"))
    other = world.write(edge("ec new"), key_pem("ec new"), endpoint="other")
    await world.keeper.take_over({"access": wish, "other": other}, world.rules)
    await world.keeper.take_over(
        {n: world.write(edge("ec 3"), key_pem("ec 3"), endpoint=n) for n in ("access", "other")},
        world.rules,
    )
    assert world.calls == 2


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
    assert world.keeper.views()[0].state is CredentialState.IN_FORCE
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
