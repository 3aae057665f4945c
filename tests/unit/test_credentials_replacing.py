"""A set is replaced whole or not at all, on disk as in memory; the SIP server is told once."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from sad.credentials.story import Step
from sad.model.credential import CredentialRules, CredentialState, WantedCredential
from sad.model.errors import NoCredential
from tests.support.credential_maker import DAY, NOW, key_pem
from tests.support.credential_world import World, edge, steps


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.keeper.close()


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
    assert view.state is CredentialState.VALID
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


def write_set_again(world: World) -> WantedCredential:
    """The wish for the files that lie there already."""
    texts = [(world.source / f"{n}.pem").read_bytes() for n in ("certificate", "key", "ca")]
    return world.write(*texts)


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
    assert view.state is CredentialState.VALID
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
