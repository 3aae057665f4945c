"""Where settings come from, and which source wins."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import sad.config.sources
from sad.config import ConfigurationError, Settings, build_parser, load_settings


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.startswith("SAD_"):
            monkeypatch.delenv(name)
    monkeypatch.setattr(sad.config.sources, "DEFAULT_PATH", str(tmp_path / "default.toml"))


def written(path: Path, text: str) -> str:
    path.write_text(text)
    path.chmod(0o644)
    return str(path)


def problems(*argv: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(argv)
    return str(caught.value).splitlines()


def test_without_any_source_the_defaults_hold() -> None:
    """A missing default file is no error."""
    assert load_settings() == Settings()


def test_command_line_beats_environment_beats_file_beats_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each source overrides those below it, value by value and inside tables too."""
    path = written(
        tmp_path / "a.toml",
        "[limits]\nmax_connections = 1000\nmax_connections_per_uid = 1\n"
        "message_timeout_seconds = 1\n",
    )
    monkeypatch.setenv("SAD_LIMITS__MAX_CONNECTIONS_PER_UID", "2")
    monkeypatch.setenv("SAD_LIMITS__MESSAGE_TIMEOUT_SECONDS", "2")

    limits = load_settings(["--config", path, "--limits.message-timeout-seconds", "3"]).limits

    assert limits.message_timeout_seconds == 3
    assert limits.max_connections_per_uid == 2
    assert limits.max_connections == 1000
    assert limits.max_associations == Settings().limits.max_associations


def test_a_variable_or_the_command_line_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``--config`` beats ``SAD_CONFIG`` beats the default path."""
    written(tmp_path / "default.toml", 'log_level = "error"')
    assert load_settings().log_level == "error"

    monkeypatch.setenv("SAD_CONFIG", written(tmp_path / "b.toml", 'log_level = "warning"'))
    assert load_settings().log_level == "warning"

    option = written(tmp_path / "c.toml", 'log_level = "debug"')
    assert load_settings(["--config", option]).log_level == "debug"


def test_lists_and_tables_come_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables and options take comma-separated lists, and JSON for everything."""
    monkeypatch.setenv("SAD_STATUS_GROUPS", "adm, 7")
    monkeypatch.setenv("SAD_CONTROL_GROUPS", '["adm"]')
    monkeypatch.setenv("SAD_KERNEL__REQID_RANGE", "5,6")
    monkeypatch.setenv("SAD_LIFETIMES", '{"t1_milliseconds": 500}')
    monkeypatch.setenv("SAD_SOCKET_MODE", "0600")
    endpoint = (
        '[{"name":"edge","addresses":"192.0.2.1","server_port":5064,'
        '"client_ports":"5068-5071","users":"root"}]'
    )

    settings = load_settings(["--endpoint", endpoint])

    assert settings.status_groups == ("adm", 7)
    assert settings.control_groups == ("adm",)
    assert settings.kernel.reqid_range == (5, 6)
    assert settings.lifetimes.retiring_seconds == 32
    assert settings.socket_mode == 0o600
    assert settings.endpoint[0].client_ports == (5068, 5069, 5070, 5071)


def test_errors_name_the_source_that_gave_the_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """File and line, variable, or option: whichever won, even where the file has the key too."""
    path = written(tmp_path / "a.toml", '\nlog_level = "a"\nstop = "b"\nsocket_path = "c"\n')
    monkeypatch.setenv("SAD_STOP", "never")
    monkeypatch.setenv("SAD_KERNEL", '{"replay_window": 1}')

    found = problems("--config", path, "--socket-path", "here")

    assert [line.split(": ")[:2] for line in found] == [
        [f"{path}:2", "log_level"],
        ["command line --socket-path", "socket_path"],
        ["environment SAD_KERNEL", "kernel.replay_window"],
        ["environment SAD_STOP", "stop"],
    ]


def test_a_list_from_the_environment_hides_that_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is missing in the winning list is not blamed on a line of the losing one."""
    path = written(tmp_path / "a.toml", '[[endpoint]]\nname = "edge"\nserver_port = 1\n')
    monkeypatch.setenv("SAD_ENDPOINT", '[{"name": "edge"}]')

    assert {line.split(": ")[0] for line in problems("--config", path)} == {
        "environment SAD_ENDPOINT"
    }


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("SAD_LOGLEVEL", "info", 'unknown setting; did you mean "log_level"?'),
        ("SAD_LIMIT__MAX_CONNECTIONS", "5", 'unknown setting; did you mean "limits"?'),
        ("SAD_LIMITS__MAX_CONN", "5", 'unknown setting; did you mean "max_connections"?'),
        ("SAD_ENDPOINT", "[{", "endpoint: no list; write a list"),
        ("SAD_KERNEL", "fast", "kernel: no table; write a table"),
    ],
)
def test_slips_in_variables_are_errors(
    name: str, value: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable that looks like a setting and is none has not silently no effect."""
    monkeypatch.setenv(name, value)

    (line,) = problems()

    assert line.startswith("environment SAD_")
    assert expected in line


def test_foreign_variables_of_our_prefix_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment is not written for the daemon alone."""
    monkeypatch.setenv("SAD_EYES", "1")

    assert load_settings() == Settings()


@pytest.mark.parametrize("argv", [["--endpoint", "[{"], ["--kernel", "{x"]])
def test_bad_json_on_the_command_line_names_the_option(argv: list[str]) -> None:
    """The option stands in the error."""
    (line,) = problems(*argv)

    assert line.startswith(f"command line {argv[0]}: ")


def test_an_unknown_option_is_named_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Not among the fifty options that there are; status 2, as every command line has it."""
    with pytest.raises(SystemExit) as caught:
        load_settings(["--no-such-setting", "1"])

    assert caught.value.code == 2
    assert capsys.readouterr().err == (
        "sad: unrecognized arguments: --no-such-setting 1\nhint: sad --help\n"
    )


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a = 1\nb = = 2\n", 2),
        ("[limits\n", 1),
        ("\n\n[limits]\n[limits]\n", 4),
        ('x = """\n\n', 2),
        (b"a = 1\n# \xff\n", 2),
    ],
)
def test_syntax_errors_have_their_line(text: str | bytes, line: int, tmp_path: Path) -> None:
    """Text that is no TOML, or no UTF-8, is found where it is."""
    path = tmp_path / "a.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())

    (problem,) = problems("--config", str(path))

    assert problem.startswith(f"{path}:{line}: ")


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    """Only the default path may be missing."""
    assert "no such file" in problems("--config", str(tmp_path / "none.toml"))[0]
    assert "Is a directory" in problems("--config", str(tmp_path))[0]


def test_a_file_that_everybody_may_write_is_refused(tmp_path: Path) -> None:
    """Who can write the settings owns the daemon; reading them is harmless, there are no keys."""
    path = tmp_path / "a.toml"
    path.write_text("")
    path.chmod(0o646)
    assert "everybody may write it; chmod o-w" in problems("--config", str(path))[0]

    path.chmod(0o644)
    assert load_settings(["--config", str(path)]) == Settings()


def test_every_setting_is_an_option_with_its_documentation() -> None:
    """The descriptions of the models are the manual: none is missing."""
    text = re.sub(r"\s+", " ", build_parser().format_help())

    for model in (Settings, *(type(getattr(Settings(), n)) for n in Settings.model_fields)):
        fields: dict[str, Any] = getattr(model, "model_fields", {})
        for name, field in fields.items():
            assert field.description, name
            assert f"{name.replace('_', '-')}" in text


def test_the_guard_imports_nothing_of_the_daemon_but_its_settings() -> None:
    """``sad-guard`` runs early at boot, whatever the daemon needs."""
    code = "import sys, sad.guard.__main__; print(*sorted(sys.modules))"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    loaded = {name for name in done.stdout.split() if name.startswith(("sad.", "netlink."))}
    assert {".".join(name.split(".")[:2]) for name in loaded} == {
        "sad.config",
        "sad.guard",
        "sad.model",
        "sad.usage",
        "netlink.model",
        "netlink.secret",
        "netlink.transforms",
        "netlink.uapi",
    }
    assert "pyroute2" not in done.stdout.split()
