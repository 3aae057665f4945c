"""What is counted, how it is served, and that a real Prometheus answers every query of ours."""

import asyncio
import contextlib
import errno
import json
import re
import socket
import subprocess
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

import sad.metrics
from netlink.errors import KernelError
from sad.api.server import ServerStatistics
from sad.app_metrics import Metrics
from sad.config.metrics import MetricsSettings
from sad.model.errors import NoCommonMechanism, SadError
from sad.model.inspection import Expiry
from tests.support.api import until
from tests.support.make import offer_request
from tests.support.shell import USER, Shell, release_of

FOLDER = Path(sad.metrics.__file__).parent
DASHBOARD = json.loads((FOLDER / "dashboard.json").read_text())
ALERTS = FOLDER / "alerts.yaml"


def statistics() -> ServerStatistics:
    return ServerStatistics(connections=1, accepted=2, refused=0, dropped=())


class Observed:
    """A whole daemon over a kernel in memory, with its metrics, and a life behind it."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.shell = Shell()
        self.shell.shared.observer = self.metrics.meters
        self.shell.shared.expiries.append(
            lambda: [Expiry(kind="certificate", name="access", at=2_000_000_000.0)]
        )

    async def live(self) -> None:
        """One of everything that is counted."""
        shell = self.shell
        installed = await shell.install()
        await shell.service.release(USER, release_of(installed.id, 0))
        await shell.service.offer(USER, offer_request())
        with contextlib.suppress(NoCommonMechanism):
            await shell.service.offer(USER, offer_request(security_client=("tls;q=0.1",)))
        await shell.reconciler.reconcile("asked")
        shell.shared.tell_problem("something", "nothing")
        kernel = self.metrics.counted(shell.kernel)
        shell.kernel.broken = [KernelError(errno.ENOBUFS)]
        with contextlib.suppress(KernelError, SadError):
            await kernel.get_sa(next(iter(shell.tables.sas)))

    @contextlib.asynccontextmanager
    async def served(self, settings: MetricsSettings) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            await self.metrics.serve(
                stack,
                settings,
                shared=self.shell.shared,
                status=self.shell.service.status,
                statistics=statistics,
            )
            yield


async def fetch(path: Path, request: str = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n") -> str:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(request.encode())
    answer = await reader.read()
    writer.close()
    return answer.decode()


def samples(page: str) -> dict[tuple[str, str], float]:
    """Samples by name and labels."""
    return {
        (s.name, ",".join(f"{k}={v}" for k, v in sorted(s.labels.items()))): s.value
        for family in text_string_to_metric_families(page.partition("\r\n\r\n")[2])
        for s in family.samples
    }


async def test_what_happens_is_counted(tmp_path: Path) -> None:
    """Offers by result and reason, installs, ends, reconciling, errno, problems, the status."""
    observed = Observed()
    await observed.live()
    place = tmp_path / "m"
    async with observed.served(MetricsSettings(listen=f"unix:{place}")):
        assert place.stat().st_mode & 0o777 == 0o660
        answer = await fetch(place)
        found = samples(answer)

    assert answer.startswith("HTTP/1.1 200 OK\r\nContent-Type: text/plain")
    assert not place.exists()
    expected = {
        ("sad_offers_total", "reason=ipsec-3gpp,result=taken"): 1,
        ("sad_offers_total", "reason=NoCommonMechanism,result=refused"): 1,
        ("sad_install_seconds_count", "mechanism=ipsec-3gpp"): 2,
        ("sad_associations_ended_total", "mechanism=ipsec-3gpp,reason=released"): 1,
        ("sad_associations", "mechanism=ipsec-3gpp,state=temporary"): 1,
        ("sad_reconcile_runs_total", ""): 1,
        ("sad_kernel_errors_total", "errno=ENOBUFS"): 1,
        ("sad_problems_total", ""): 1,
        ("sad_pool_used", "endpoint=access,pool=SPIs"): 2,
        ("sad_state", "state=ready"): 1,
        ("sad_expiry_timestamp_seconds", "kind=certificate,name=access"): 2_000_000_000,
        ("sad_connections_accepted_total", ""): 2,
    }
    assert {key: found.get(key) for key in expected} == expected
    assert any(name == "sad_offers_passed_over_total" for name, _ in found)


async def test_the_command_of_the_documentation_fetches_them(tmp_path: Path) -> None:
    """As it stands there, but for the socket's place: curl."""
    text = (FOLDER.parent / "docs/metrics.md").read_text()
    (command,) = re.findall(r"^curl .*$", text, re.MULTILINE)
    place = tmp_path / "m"
    async with Observed().served(MetricsSettings(listen=f"unix:{place}")):
        process = await asyncio.create_subprocess_shell(
            command.replace("/run/sad/metrics.sock", str(place)) + " --silent --show-error",
            stdout=asyncio.subprocess.PIPE,
        )
        said, _ = await process.communicate()

    assert process.returncode == 0
    assert 'sad_state{state="ready"} 1.0' in said.decode()


async def test_no_metric_names_a_user_agent(tmp_path: Path) -> None:
    """Neither identities nor addresses of peers, nor anything that a phone can make up."""
    observed = Observed()
    await observed.live()
    with contextlib.suppress(NoCommonMechanism):
        await observed.shell.service.offer(
            USER, offer_request(security_client=("made-up-by-a-phone;q=0.1",))
        )
    async with observed.served(MetricsSettings(listen=f"unix:{tmp_path / 'm'}")):
        page = await fetch(tmp_path / "m")

    assert 'mechanism="other"' in page
    assert not re.search(r"made-up|10\.10\.|@|imsi|[0-9a-f]{24}", page)


@pytest.mark.parametrize(
    ("request_text", "status"),
    [
        ("GET / HTTP/1.1\r\n\r\n", "404"),
        ("POST /metrics HTTP/1.1\r\n\r\n", "405"),
        ("HEAD /metrics HTTP/1.1\r\n\r\n", "200"),
    ],
)
async def test_other_requests_are_answered(tmp_path: Path, request_text: str, status: str) -> None:
    """Each with its status; a flood of header is cut off."""
    async with Observed().served(MetricsSettings(listen=f"unix:{tmp_path / 'm'}")):
        assert (await fetch(tmp_path / "m", request_text)).startswith(f"HTTP/1.1 {status} ")
        with contextlib.suppress(ConnectionError):
            assert await fetch(tmp_path / "m", "GET /metrics HTTP/1.1\r\nX: " + "x" * 70_000) == ""


async def test_the_text_file_is_replaced_whole(tmp_path: Path) -> None:
    """Another user may read it; a full disk ends nothing."""
    path = tmp_path / "sad.prom"
    async with Observed().served(MetricsSettings(textfile=str(path))):
        await until(path.exists)
        assert 'sad_state{state="ready"} 1.0' in path.read_text()
        assert path.stat().st_mode & 0o777 == 0o644
    async with Observed().served(MetricsSettings(textfile=str(tmp_path / "none/sad.prom"))):
        await asyncio.sleep(0)


def queries() -> list[str]:
    """Each query of the dashboard."""
    return [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]


class Prometheus:
    """A real one that scrapes one target and knows our rules."""

    def __init__(self, folder: Path, target: int) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        config = {
            "global": {"scrape_interval": "500ms", "evaluation_interval": "500ms"},
            "rule_files": [str(ALERTS)],
            "scrape_configs": [
                {"job_name": "sad", "static_configs": [{"targets": [f"127.0.0.1:{target}"]}]}
            ],
        }
        (folder / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML
        self.log = (folder / "log").open("w")
        self.process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{self.port}",
            ],
            stderr=self.log,
            stdout=self.log,
        )

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.log.close()

    def ask(self, path: str, **parameters: str) -> Any:
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]

    def values(self, query: str) -> list[Any]:
        try:
            result: list[Any] = self.ask("query", query=query)["result"]
        except OSError:  # it has not begun to listen
            return []
        return result


@pytest.fixture
def prometheus_at(tmp_path: Path) -> Iterator[Any]:
    running: list[Prometheus] = []

    def start(target: int) -> Prometheus:
        running.append(Prometheus(tmp_path, target))
        return running[0]

    yield start
    for each in running:
        each.close()


async def test_a_real_prometheus_answers_every_query(prometheus_at: Any) -> None:
    """The dashboard's queries all have values, the alert rules load and evaluate."""
    observed = Observed()
    await observed.live()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    xfrm = observed.shell.service.status()
    assert xfrm.kernel_counters == ()
    observed.shell.service._status_page._kernel_counters = lambda: {"XfrmInPolBlock": 3}
    async with observed.served(MetricsSettings(listen=f"127.0.0.1:{port}")):
        prometheus = prometheus_at(port)
        left = set(queries())
        async with asyncio.timeout(60):
            while left:
                for query in sorted(left):
                    if await asyncio.to_thread(prometheus.values, query):
                        left.discard(query)
                await asyncio.sleep(0.2)
            rules = await asyncio.to_thread(prometheus.ask, "rules")
            while any(r["health"] == "unknown" for r in rules["groups"][0]["rules"]):
                await asyncio.sleep(0.2)
                rules = await asyncio.to_thread(prometheus.ask, "rules")

    assert {r["health"] for r in rules["groups"][0]["rules"]} == {"ok"}
    assert len(rules["groups"][0]["rules"]) >= 9


def test_promtool_finds_no_fault() -> None:
    """In rules."""
    done = subprocess.run(
        ["promtool", "check", "rules", ALERTS], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_the_dashboard_is_whole() -> None:
    """Each panel says what it means; no id stands twice; panels do not overlap."""
    panels = DASHBOARD["panels"]

    assert len({p["id"] for p in panels}) == len(panels) > 10
    assert all(p["title"] and p["description"] for p in panels)
    places = {
        (x, y)
        for p in panels
        for x in range(p["gridPos"]["x"], p["gridPos"]["x"] + p["gridPos"]["w"])
        for y in range(p["gridPos"]["y"], p["gridPos"]["y"] + p["gridPos"]["h"])
    }
    assert len(places) == sum(p["gridPos"]["w"] * p["gridPos"]["h"] for p in panels)
    assert max(x for x, _ in places) < 24


@pytest.mark.parametrize(
    "bad", ["127.0.0.1", "localhost:1", "127.0.0.1:0", "unix:run", "[::1]:70000"]
)
def test_a_place_that_is_none_is_refused_with_the_way_out(bad: str) -> None:
    """At --check-config, not at the start."""
    with pytest.raises(ValueError, match="no place to listen at"):
        MetricsSettings(listen=bad)
