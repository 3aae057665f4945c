"""The interfaces that the socket serves, from their ``.varlink`` files (the source of truth).

Counterparts: :mod:`sad.api.idl` reads the text, :mod:`sad.api.messages` are the same shapes as
values, :mod:`sad.api.methods` does what they say; a test compares all of them.
"""

import functools
import importlib.resources
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from sad import __version__
from sad.api.idl import Interface, parse_interface
from sad.api.messages import GetInfoOut, GetInterfaceDescriptionOut

ASSOCIATIONS: Final = "org.sipsad.Associations"
CONTROL: Final = "org.sipsad.Control"
SERVICE: Final = "org.varlink.service"


@functools.cache
def load_interfaces() -> Mapping[str, Interface]:
    """Read the interface files that ship beside this module, by name in sorted order."""
    folder = importlib.resources.files("sad.api")
    names = sorted((ASSOCIATIONS, CONTROL, SERVICE))
    texts = ((folder / f"{name}.varlink").read_text(encoding="utf-8") for name in names)
    return MappingProxyType({i.name: i for i in map(parse_interface, texts)})


def get_info() -> GetInfoOut:
    """Answer ``org.varlink.service.GetInfo``."""
    return GetInfoOut(
        vendor="sipsad",
        product="sad",
        version=__version__,
        url="",
        interfaces=tuple(load_interfaces()),
    )


def get_interface_description(name: str) -> GetInterfaceDescriptionOut | None:
    """Answer ``org.varlink.service.GetInterfaceDescription``; None for an unknown interface."""
    interface = load_interfaces().get(name)
    return GetInterfaceDescriptionOut(description=interface.text) if interface else None
