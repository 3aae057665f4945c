"""The shipped settings file says what the models say."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from sad.config import (
    ClusterSettings,
    CredentialSettings,
    EndpointSettings,
    KernelSettings,
    LifetimeSettings,
    LimitSettings,
    MetricsSettings,
    Settings,
    TlsSettings,
    load_settings,
)
from sad.config.ike import EndpointIkeSettings, IkePeerSettings, IkeSettings

EXAMPLE = Path(__file__).resolve().parents[2] / "systemd/sad.toml"
MODELS = (
    Settings,
    LifetimeSettings,
    KernelSettings,
    LimitSettings,
    MetricsSettings,
    IkeSettings,
    ClusterSettings,
    CredentialSettings,
    EndpointSettings,
    TlsSettings,
    EndpointIkeSettings,
    IkePeerSettings,
)
#: Tables of their own.
TABLES = {
    "lifetimes",
    "kernel",
    "limits",
    "metrics",
    "ike",
    "cluster",
    "credentials",
    "endpoint",
    "tls",
    "peer",
}


def uncommented() -> str:
    # prose has a space behind the hash, values have none
    return re.sub(r"(?m)^#(?! )", "", EXAMPLE.read_text())


def test_the_shipped_file_changes_nothing() -> None:
    """As shipped it loads, and gives the defaults."""
    assert load_settings(["--config", str(EXAMPLE)]) == Settings()


def test_every_value_shown_is_the_default() -> None:
    """With its values switched on it is still the defaults, but for what has no default."""
    shown = tomllib.loads(uncommented())
    assert shown.pop("socket_group") == "sad"
    (endpoint,) = shown.pop("endpoint")
    assert shown["metrics"].pop("textfile").endswith(".prom")
    for name in ("etcd_ca", "etcd_certificate", "etcd_key"):
        assert shown["cluster"].pop(name).endswith(".pem")
    of_ike = endpoint.pop("ike")
    (peer,) = of_ike.pop("peer")

    assert Settings.model_validate(shown) == Settings()
    tls = endpoint.pop("tls")
    assert tls.pop("group") == "kamailio"
    for name in ("certificate", "private_key"):
        del of_ike[name]  # examples, and without a default
    del peer["secret"]
    peer["auth"] = "certificate"  # what needs no secret
    models: list[tuple[type[BaseModel], dict[str, Any]]] = [
        (EndpointSettings, endpoint),
        (TlsSettings, tls),
        (EndpointIkeSettings, of_ike),
        (IkePeerSettings, peer),
    ]
    for model, values in models:
        required = {n: values[n] for n, f in model.model_fields.items() if f.is_required()}
        if model is IkePeerSettings:
            required["auth"] = peer["auth"]
        assert model.model_validate(values) == model.model_validate(required)


@pytest.mark.parametrize("model", MODELS)
def test_every_setting_is_shown_with_its_documentation(model: type[BaseModel]) -> None:
    """No setting is missing, and the comment before it begins with the model's description."""
    text = EXAMPLE.read_text()
    for name, field in model.model_fields.items():
        if name in TABLES:
            continue
        found = re.findall(rf"((?:^# .*\n)+)#{name} = ", text, re.MULTILINE)
        comments = [" ".join(comment.replace("# ", "").split()) for comment in found]
        assert field.description is not None
        assert any(comment.startswith(field.description) for comment in comments), name
