"""What a rack file may say, and that nothing of it is lost on the way in."""

from __future__ import annotations

import json
import pickle
import re
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lab import paths, schemas
from lab.errors import ConfigError
from lab.rack.load import load_rack
from lab.rack.model import Rack, Rfc2217Console, SerialConsole, SolConsole, TcpConsole, parse_size
from lab.rack.values import Strict
from lab.rack.virtual import VirtualServer
from lab.secret import Secret
from lab.strict_yaml import Document

INVENTORY = Path(__file__).parents[2] / "inventory"
RULES = jsonschema.Draft202012Validator(schemas.schema_of(Rack))

texts = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=20)
hosts = st.from_regex(r"\A[a-z0-9]([a-z0-9.-]{0,10}[a-z0-9])?\Z")
ports = st.integers(1, 65535)
host_ports = st.builds("{}:{}".format, hosts, ports)
secret_references = st.sampled_from(["env:BMC", "env:_X1", "file:secrets/bmc", "file:{state}/x", "file:~/y"])
sizes = st.one_of(
    st.integers(0, 2**50), st.builds("{} {}".format, st.integers(0, 999), st.sampled_from(["GiB", "MB", "B"]))
)


@st.composite
def servers(draw: st.DrawFn, number: int) -> dict[str, Any]:
    """A legal server as YAML would give it; `number` keeps MACs, names and serials apart."""
    tls = draw(
        st.sampled_from(
            [None, {"ca": "ca.pem"}, {"ca": "{state}/ca.pem"}, {"fingerprint": "sha256:" + "ab" * 32}, "none"]
        )
    )
    bmc: dict[str, Any] = {"user": draw(texts), "password": draw(secret_references), "tls": tls}
    if tls == "none" or draw(st.booleans()):
        bmc["redfish"] = f"{'http' if tls == 'none' else 'https'}://{draw(hosts)}:{draw(ports)}"
    if "redfish" not in bmc or draw(st.booleans()):
        bmc["ipmi"] = draw(st.one_of(hosts, host_ports))
    if draw(st.booleans()):
        bmc |= {"sol_user": draw(texts), "sol_password": draw(secret_references)}
    consoles = [
        {"serial": "/dev/ttyUSB0", "baud": draw(st.sampled_from([9600, 115200]))},
        {"rfc2217": draw(host_ports)},
        {"tcp": draw(host_ports)},
    ] + [{"sol": {}}] * ("ipmi" in bmc)
    nics = draw(st.integers(1, 4))
    boot = draw(st.integers(0, nics - 1))
    disks = [
        {
            draw(
                st.sampled_from(["serial", "wwn"])
            ): f"{draw(st.from_regex(r'[!-~]{1,12}', fullmatch=True))}-{number}-{n}",
            "erase": draw(st.booleans()),
        }
        for n in range(draw(st.integers(0, 3)))
    ]
    return {
        "name": f"s{number}",
        "model": draw(texts),
        "firmware": draw(st.sampled_from(["uefi", "bios"])),
        "bmc": {key: value for key, value in bmc.items() if value is not None},
        "console": draw(st.sampled_from(consoles)),
        "nics": [{"mac": f"02:00:00:00:{number:02x}:{n:02x}", "boot": n == boot} for n in range(nics)],
        "disks": disks,
        "allow": draw(st.lists(st.sampled_from(["power-cut", "nmi", "clock"]), unique=True)),
        "power_after": draw(st.sampled_from(["off", "on", "as-found"])),
    } | ({"host": {"address": draw(hosts), "ssh_port": draw(ports)}} if draw(st.booleans()) else {})


@st.composite
def racks(draw: st.DrawFn) -> dict[str, Any]:
    """A legal rack as YAML would give it."""
    return {
        "rack": draw(st.from_regex(r"[a-z0-9][a-z0-9._-]{0,20}", fullmatch=True)),
        "controller": {
            "media_address": str(draw(st.ip_addresses())),
            "media_port": draw(st.integers(0, 65535)),
        },
        "servers": [draw(servers(number)) for number in range(draw(st.integers(1, 3)))],
    }


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=racks())
def test_a_legal_rack_comes_back_as_it_was_written(content: dict[str, Any], tmp_path: Path) -> None:
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    rack = load_rack(str(first))
    second.write_text(yaml.safe_dump(rack.model_dump(mode="json", exclude_none=True)), encoding="utf-8")
    assert load_rack(str(second)).model_dump() == rack.model_dump()
    assert [nic["mac"] for nic in content["servers"][0]["nics"]] == [nic.mac for nic in rack.servers[0].nics]
    RULES.validate(content)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=racks(), data=st.data())
def test_a_stranger_anywhere_is_refused_with_its_line(
    content: dict[str, Any], data: st.DataObject, tmp_path: Path
) -> None:
    def mappings(node: object) -> list[dict[str, Any]]:
        if isinstance(node, dict):
            return [node] * (node != {}) + [found for value in node.values() for found in mappings(value)]
        return [found for item in node for found in mappings(item)] if isinstance(node, list) else []

    data.draw(st.sampled_from(mappings(content)))["stranger"] = 1
    file = tmp_path / "rack.yaml"
    file.write_text(yaml.safe_dump(content))
    line = next(
        n for n, text in enumerate(file.read_text().splitlines(), 1) if text.lstrip(" -") == "stranger: 1"
    )
    with pytest.raises(ConfigError) as refused:
        load_rack(str(file))
    assert f"{file}:{line}: " in refused.value.message
    assert "stranger: unknown key" in refused.value.message


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.one_of(st.text(), st.text("[]{}:,-&*!?|>'\"%@#\n\t ab01_.e+", max_size=60)))
def test_any_text_is_a_rack_or_a_complaint(text: str, tmp_path: Path) -> None:
    file = tmp_path / "any.yaml"
    file.write_text(text, encoding="utf-8", errors="surrogatepass")
    with pytest.raises(ConfigError) as refused:
        load_rack(str(file))
    assert refused.value.message.startswith(str(file))


def test_aliases_cannot_make_reading_slow(tmp_path: Path) -> None:
    bomb = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 60))
    file = tmp_path / "bomb.yaml"
    file.write_text(bomb)
    with pytest.raises(ConfigError):
        load_rack(str(file))


@pytest.mark.parametrize("text", ["[" * 2000, "a: &a [*a]\n"])
def test_endless_nesting_is_a_complaint(text: str, tmp_path: Path) -> None:
    file = tmp_path / "deep.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError):
        load_rack(str(file))


@given(
    number=st.integers(0, 10**6),
    unit=st.sampled_from([("B", 1), ("KiB", 2**10), ("GiB", 2**30), ("GB", 10**9), ("TB", 10**12)]),
)
def test_sizes_are_bytes(number: int, unit: tuple[str, int]) -> None:
    assert parse_size(f"{number} {unit[0]}") == number * unit[1] == parse_size(f"{number}{unit[0]}")
    assert parse_size(number) == number


@pytest.mark.parametrize("wrong", [True, -1, 1.5, "", "64", "GiB", "1 gb", "-1 GB", "1 GB x", None, []])
def test_what_is_no_size_is_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match="is not a size such as 64 GiB"):
        parse_size(wrong)


def test_the_racks_that_are_shipped_are_good() -> None:
    assert {load_rack(str(file)).rack for file in INVENTORY.glob("*.yaml")} >= {"virtual", "example-rack"}


def test_the_example_shows_every_key_and_only_documentation_addresses() -> None:
    rack = load_rack(str(INVENTORY / "example-rack.yaml"))
    dell, hpe, supermicro = rack.servers
    assert dell.bmc.redfish and dell.bmc.tls != "none" and dell.bmc.tls and dell.bmc.tls.fingerprint
    assert isinstance(dell.console, SolConsole) and dell.installs_by == "virtual-media"
    assert hpe.bmc.tls != "none" and hpe.bmc.tls and hpe.bmc.tls.ca
    assert isinstance(supermicro.console, Rfc2217Console) and supermicro.installs_by == "pxe"
    assert supermicro.bmc.redfish is None and supermicro.firmware == "bios"
    text = (INVENTORY / "example-rack.yaml").read_text()
    used = {*_keys(Rack), *_keys(SerialConsole), *_keys(TcpConsole)} - {"virtual"}
    assert [key for key in sorted(used) if f"{key}:" not in text] == []
    networks = [ip_network(block) for block in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24")]
    addresses = [ip_address(found) for found in re.findall(r"(?<![\d.])\d+\.\d+\.\d+\.\d+(?![\d.])", text)]
    assert len(addresses) > 5
    assert all(any(address in network for network in networks) for address in addresses)


def _keys(model: type[Strict]) -> set[str]:
    schema = json.loads(json.dumps(model.model_json_schema()))
    parts = [schema, *(part for name, part in schema.get("$defs", {}).items() if name not in _virtual())]
    return {key for part in parts for key in part.get("properties", {})}


def _virtual() -> set[str]:
    """Models of the virtual rack alone, which a rack of real servers never shows."""
    return {"VirtualServer", *VirtualServer.model_json_schema().get("$defs", {})}


def test_paths_in_a_rack_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    file = tmp_path / "rack.yaml"
    file.write_text((INVENTORY / "example-rack.yaml").read_text())
    rack = load_rack(str(file))
    assert rack.file == file.resolve()
    assert rack.resolve(Path("secrets/ca.pem")) == tmp_path.resolve() / "secrets/ca.pem"
    assert rack.resolve(Path("{state}/ca.pem")) == paths.state() / "ca.pem"
    assert rack.resolve(Path("~/ca.pem")) == Path("/home/somebody/ca.pem")
    assert rack.resolve(Path("/etc/ca.pem")) == Path("/etc/ca.pem")


def test_a_rack_crosses_processes_whole() -> None:
    rack = load_rack("example-rack")
    copy = pickle.loads(pickle.dumps(rack))  # noqa: S301 - our own bytes
    assert copy == rack
    assert copy.file == rack.file
    assert copy.servers[0].where("disks") == rack.servers[0].where("disks") != ""


def test_a_place_is_the_deepest_part_that_the_file_has(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("a:\n  - b: 1\n    c:\n      d: 2\n")
    place = Document.read(file).place("a", 0)
    assert place.where("c", "d") == f"{file}:4: a[0].c.d"
    assert place.where("c", "x") == f"{file}:3: a[0].c.x"
    assert place.where() == f"{file}:2: a[0]"


def test_a_secret_is_read_when_asked_for_and_never_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key").write_text("from a file\n")
    monkeypatch.setenv("A_SECRET", "from the environment")
    assert Secret("file:key", tmp_path).reveal() == "from a file"
    secret = Secret("env:A_SECRET")
    assert secret.reveal() == "from the environment"
    assert "from the environment" not in repr(secret)
