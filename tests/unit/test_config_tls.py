"""Settings of TLS credential sets, and what --check-config says of the files they name."""

import io
import os
import ssl
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from sad.config import ConfigurationError, Settings, check_config, load_settings, to_credentials
from sad.config.credentials import check_credentials
from sad.model.credential import ClientAuthentication, TlsVersion
from sad.model.tls_ciphers import DEFAULT_CIPHERS, fault_of
from tests.support.credential_maker import (
    NEVER,
    authority,
    certificate,
    key_pem,
    pem,
    write_set,
)

ENDPOINT = """\
[[endpoint]]
name = "access"
addresses = ["192.0.2.1"]
server_port = 5064
client_ports = "5068-5071"
users = ["kamailio", 7]
[endpoint.tls]
certificate = "{folder}/certificate.pem"
key = "{folder}/key.pem"
ca = "{folder}/ca.pem"
domains = ["sip.example.org"]
"""


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("SAD_") or name == "CREDENTIALS_DIRECTORY":
            monkeypatch.delenv(name)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A set that is good for OpenSSL's only time, the real one."""
    good = certificate("edge", "ec edge", "root", "ec root", ends=NEVER)
    write_set(tmp_path / "tls", pem(good), None, pem(authority(ends=NEVER)))
    return tmp_path / "tls"


def resolve(name: str) -> int:
    return {"kamailio": 998, "edge": 4}[name]


def written(folder: Path, more: str = "") -> Path:
    path = folder / "sad.toml"
    path.write_text(ENDPOINT.format(folder=folder) + more)
    path.chmod(0o644)
    return path


def check(folder: Path, more: str = "") -> tuple[int, str, str]:
    stdout, stderr = io.StringIO(), io.StringIO()
    code = check_config(
        ["--config", str(written(folder, more))],
        resolve_user=resolve,
        resolve_group=resolve,
        stdout=stdout,
        stderr=stderr,
    )
    return code, stdout.getvalue(), stderr.getvalue().replace(f"{folder}/", "")


def test_a_table_becomes_what_is_wanted(folder: Path) -> None:
    """Names become numbers; the readers of the key are the endpoint's users."""
    path = written(
        folder,
        'minimum_version = "1.3"\nclient_authentication = "required"\ngroup = "edge"\n'
        'reload_command = "/usr/sbin/kamcmd tls.reload"\n',
    )
    settings = load_settings(["--config", str(path)])
    wanted = to_credentials(settings, resolve, resolve)["access"]
    assert wanted.readers == {998, 7}
    assert wanted.group == 4
    assert wanted.minimum_version is TlsVersion.TLS13
    assert wanted.client_authentication is ClientAuthentication.REQUIRED
    assert wanted.reload_command == ("/usr/sbin/kamcmd", "tls.reload")
    assert wanted.ciphers == DEFAULT_CIPHERS
    assert wanted.write_files


BAD = [
    ('minimum_version = "1.1"', "minimum_version: TLS 1.1 must not be spoken (RFC 8996)"),
    ("minimum_version = 1.0", "minimum_version: TLS 1.0 must not be spoken (RFC 8996)"),
    ('ciphers = ["RC4-SHA"]', "RC4-SHA RC4 is forbidden (RFC 7465)"),
    ('ciphers = ["NULL-SHA256"]', "NULL-SHA256 does not encrypt"),
    ('ciphers = ["AECDH-AES256-SHA"]', "authenticates nobody"),
    ('ciphers = ["ECDHE-RSA-AES128-SHA256"]', "CBC mode"),
    ('ciphers = ["AES256-GCM-SHA384"]', "no forward secrecy"),
    ('ciphers = ["DHE-RSA-AES256-GCM-SHA384"]', "finite-field DHE"),
    ('ciphers = ["HIGH:!MD5"]', "is an expression"),
    ('ciphers = ["TLS_AES_128_GCM_SHA256"]', "those of 1.3 are always on"),
    ('ciphers = ["ecdhe-rsa-aes256-gcm-sha384"]', "not written as OpenSSL does"),
    ("ciphers = []", "ciphers: no cipher suite for TLS 1.2"),
    ('reload_command = ["kamcmd"]', "is no absolute path"),
    ('reload_command = "/bin/sh -c \'x"', "a quote is not closed"),
    ('group = "nobody-knows"', 'there is no group "nobody-knows"'),
    ('client_authentication = "perhaps"', "client_authentication"),
    ("write_file = true", 'did you mean "write_files"?'),
]


@pytest.mark.parametrize(("line", "words"), BAD, ids=[line for line, _ in BAD])
def test_a_bad_setting_is_refused_at_its_line(folder: Path, line: str, words: str) -> None:
    """UPD-8996: nothing weak can be set; file, line, reason and way out are told."""
    code, stdout, stderr = check(folder, line + "\n")
    assert (code, stdout) == (78, "")
    assert stderr.startswith("sad.toml:12: endpoint[0].tls.")
    assert words in stderr
    assert "; " in stderr


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"domains": ["*.example.org"]}, "is a wildcard"),
        ({"domains": ["sip:example.org"]}, 'write the domain: "example.org"'),
        ({"domains": ["192.0.2.1"]}, "is an address"),
        ({"domains": ["a b"]}, "is no domain"),
        ({"domains": ["a.example", "A.example"]}, "stands there twice"),
        ({"domains": []}, "domains"),
        ({"key": "relative/key.pem"}, "neither an absolute path nor the name"),
        ({"key": ".."}, "neither an absolute path nor the name"),
        ({"certificate": None}, "certificate"),
    ],
)
def test_other_bad_values_are_refused(change: dict[str, Any], words: str) -> None:
    """RFC 5922 7.2, and names of credentials that lead nowhere else."""
    tls = {"certificate": "/c", "key": "/k", "ca": "/a", "domains": ["example.org"]} | change
    endpoint = {
        "name": "access",
        "addresses": ["192.0.2.1"],
        "server_port": 5064,
        "client_ports": "5068-5071",
        "users": [7],
        "tls": tls,
    }
    with pytest.raises(ValidationError) as refused:
        Settings.model_validate({"endpoint": [endpoint]})
    assert words in str(refused.value)


def test_a_good_set_is_summed_up(folder: Path) -> None:
    """Whose certificate it is, of what key, by whom."""
    code, stdout, stderr = check(folder)
    assert (code, stderr) == (0, "")
    assert (
        "  TLS 1.2 or later, client authentication none: sip.example.org, EC P-256, issued by "
        "CN=root\n" in stdout
    )


def test_what_the_files_hold_is_checked_at_the_lines_that_name_them(folder: Path) -> None:
    """Every fault with its line, reason word, rule and way out; status 78."""
    (folder / "key.pem").chmod(0o444)
    (folder / "ca.pem").unlink()
    code, stdout, stderr = check(folder)
    assert (code, stdout) == (78, "")
    key, ca = stderr.splitlines()
    assert key.startswith("sad.toml:9: endpoint[0].tls.key: key.pem may be read by others")
    assert "(key-open-to-others, " in key
    assert "; chmod 0400" in key
    assert ca.startswith("sad.toml:10: endpoint[0].tls.ca: there is no file ca.pem (missing-file")


def test_a_certificate_of_another_domain_is_told(folder: Path) -> None:
    """RFC 5922 7.2."""
    path = folder / "certificate.pem"
    path.unlink()
    path.write_bytes(pem(certificate("edge", "ec edge", "root", "ec root", names=[])))
    path.chmod(0o444)
    code, _, stderr = check(folder)
    assert code == 78
    assert "sad.toml:8: endpoint[0].tls.certificate: " in stderr
    assert "(no-sip-identity, RFC 5922 7.1, TLS-1); have it issued with" in stderr


def test_credentials_of_systemd_are_looked_at_where_it_hands_them_over(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By hand they cannot be: said, not guessed."""
    text = ENDPOINT.format(folder=folder).replace(f'"{folder}/key.pem"', '"key.pem"')
    (folder / "sad.toml").write_text(text)
    (folder / "sad.toml").chmod(0o644)
    arguments = ["--config", str(folder / "sad.toml")]
    stdout, stderr = io.StringIO(), io.StringIO()
    known: dict[str, Any] = {"resolve_user": resolve, "resolve_group": resolve}

    assert check_config(arguments, **known, stdout=stdout, stderr=stderr) == 0
    assert "not looked at: systemd hands key.pem to the service alone" in stdout.getvalue()

    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    assert check_config(arguments, **known, stdout=stdout, stderr=stderr) == 0
    assert "EC P-256" in stdout.getvalue()


def test_a_near_end_is_a_warning(folder: Path) -> None:
    """The settings are good: status 0."""
    settings = load_settings(["--config", str(written(folder))])
    near = NEVER.timestamp() - 86_400 * 3.5
    checked = check_credentials(settings, {}, near, resolve_user=resolve, resolve_group=resolve)
    assert checked.broken == ()
    assert "expires in 3 days" in checked.lines["access"][1]


def test_the_key_is_in_no_words(folder: Path) -> None:
    """Neither of a good set nor of a bad one."""
    secret = [line for line in key_pem("ec edge").decode().splitlines() if "-" not in line]
    said = "".join(check(folder)[1:])
    (folder / "certificate.pem").chmod(0o600)
    (folder / "certificate.pem").write_bytes(key_pem("ec edge"))
    said += "".join(check(folder)[1:])
    assert "the file also holds a private key" in said
    assert not [line for line in secret if line in said]


def test_every_default_cipher_is_taken_and_known_to_openssl() -> None:
    """UPD-8996: forward secrecy and AEAD; the names are those of the ssl module."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers(":".join(DEFAULT_CIPHERS))
    names = [cipher["name"] for cipher in context.get_ciphers()]
    assert [name for name in names if not name.startswith("TLS_")] == list(DEFAULT_CIPHERS)
    assert not any(map(fault_of, DEFAULT_CIPHERS))
    weak = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    weak.set_ciphers("ALL:COMPLEMENTOFALL:@SECLEVEL=0")
    taken = [c["name"] for c in weak.get_ciphers() if fault_of(c["name"]) is None]
    assert set(taken) == {*DEFAULT_CIPHERS, "ECDHE-ECDSA-AES128-CCM", "ECDHE-ECDSA-AES256-CCM"}


def test_an_unknown_user_is_never_a_reader(folder: Path) -> None:
    """Who may read the key must never be guessed."""
    settings = load_settings(["--config", str(written(folder))])

    def nobody(name: str) -> int:
        raise KeyError(name)

    with pytest.raises(ConfigurationError, match="kamailio"):
        to_credentials(settings, nobody, nobody)
