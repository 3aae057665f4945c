"""What must hold of the whole run, judged when everything else is over."""

import base64

from tests.acceptance import capture
from tests.acceptance.runner import scenario
from tests.acceptance.world import World


@scenario("no SIP in clear, whole run")
def wire(world: World) -> None:
    """From the first scenario to the last nothing passed in clear on a protected port."""
    packets = world.capture.packets()
    found = capture.clear(packets)
    dropped = world.capture.stop()
    world.capture.packets()
    world.note(
        f"{len(packets)} packets, {len(capture.esp(packets))} of them ESP, {dropped} not captured"
    )
    assert found == [], found[:3]
    assert dropped == 0
    assert len(capture.esp(packets)) > 0


def forms(key: bytes) -> list[bytes]:
    """A key as bytes, in hex and in base64 (whatever stands around it)."""
    hexadecimal = key.hex().encode()
    coded = [base64.b64encode(bytes(before) + key)[4:-4] for before in range(3)]
    return [key, hexadecimal, hexadecimal.upper(), base64.b64encode(key).rstrip(b"="), *coded]


@scenario("no key in any log, whole run")
def keys(world: World) -> None:
    """No key is in a journal, a file below /var/log or /run, a log or the capture."""
    known = [bytes.fromhex(text) for text in world.phones.call("keys")["keys"]] + world.keys
    searched = [form for key in known for form in forms(key)]
    places = {
        f"{machine.name}: {what}": machine.raw(script)
        for machine in (world.edge.machine, world.ue)
        for what, script in (
            ("journal", "journalctl --quiet --no-pager --all --output=export"),
            ("/var/log", "find /var/log -type f ! -path '*/journal/*' -exec cat {} +"),
            ("/run/sad", "find /run/sad -type f -exec cat {} + || true"),
        )
    }
    places |= {path.name: path.read_bytes() for path in world.folder.iterdir() if path.is_file()}
    world.note(
        f"{len(known)} keys in {len(searched)} forms; bytes searched: "
        f"{ {name: len(data) for name, data in places.items()} }"
    )
    assert len(known) > 10
    found = [name for name, data in places.items() if any(form in data for form in searched)]
    assert found == []
