"""The reader of interface files."""

import pytest

from sad.api.idl import (
    Array,
    Builtin,
    Dictionary,
    Enumeration,
    InterfaceSyntaxError,
    Method,
    Named,
    Nullable,
    Record,
    parse_interface,
)

TEXT = """# About this.
# In two lines.
interface org.example.Things

# A stray remark.

type Colour (red, green)

# A thing.
type Thing (name: string, sizes: []?int, tags: [string]Colour, more: ?(in, out))

# Makes one.
method Make(thing: ?Thing) -> (made: (thing: Thing, at: float))
method Nothing() -> ()
error Bad (why: string)
error Empty ()
"""


def test_an_interface_is_read_as_it_is_written() -> None:
    """Every construct that the language has comes out as a value."""
    interface = parse_interface(TEXT)
    string = Builtin("string")

    assert interface.name == "org.example.Things"
    assert interface.text == TEXT
    assert interface.types == {
        "Colour": Enumeration(("red", "green")),
        "Thing": Record(
            (
                ("name", string),
                ("sizes", Array(Nullable(Builtin("int")))),
                ("tags", Dictionary(Named("Colour"))),
                ("more", Nullable(Enumeration(("in", "out")))),
            )
        ),
    }
    made = Record((("thing", Named("Thing")), ("at", Builtin("float"))))
    assert interface.methods == {
        "Make": Method(Record((("thing", Nullable(Named("Thing"))),)), Record((("made", made),))),
        "Nothing": Method(Record(()), Record(())),
    }
    assert interface.errors == {"Bad": Record((("why", string),)), "Empty": Record(())}


def test_a_comment_belongs_to_what_stands_right_below() -> None:
    """An empty line parts them."""
    comments = parse_interface(TEXT).comments

    assert comments["org.example.Things"] == "About this.\nIn two lines."
    assert comments["Colour"] == ""
    assert (comments["Thing"], comments["Make"]) == ("A thing.", "Makes one.")


@pytest.mark.parametrize(
    ("text", "line", "expected"),
    [
        ("", 1, "interface"),
        ("interface", 1, "name"),
        ("interface a.B\ntype X", 2, r"\("),
        ("interface a.B\ntype X (a: int b: int)", 2, ","),
        ("interface a.B\ntype X (a: int, b)", 2, "fields or words"),
        ("interface a.B\ntype X (a: )", 2, "a type"),
        ("interface a.B\nmethod X(a) -> ()", 2, "fields"),
        ("interface a.B\nmethod X() ()", 2, "->"),
        ("interface a.B\nthing X ()", 2, "type, method or error"),
        ("interface a.B\n\ntype X (a: int)\nmethod X() -> ()", 4, "one member"),
        ("interface a.B\ntype X (a: int)\n!", 3, "word or a mark"),
        ("interface a.B\ntype X (a: int,", 2, "name"),
    ],
)
def test_a_broken_file_says_where(text: str, line: int, expected: str) -> None:
    """One error type with the line and what should stand there."""
    with pytest.raises(InterfaceSyntaxError, match=expected) as caught:
        parse_interface(text)

    assert caught.value.line == line
