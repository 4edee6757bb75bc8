"""Network ports by Redfish, gathered by MAC from every place where BMCs list them."""

from __future__ import annotations

from collections.abc import Iterator

from lab.bmc.bill import Port
from lab.bmc.redfish.json import Json, as_dict, as_list, link, linked, links, mac, number, told, whole
from lab.bmc.redfish.tree import RedfishTree


def read_ports(tree: RedfishTree, system: Json) -> tuple[Port, ...]:
    """The server's ports, each once, with what each place adds about it.

    The permanent MAC comes first where both are told: a bond or an operating system may change the other.
    """
    found: dict[str, Port] = {}
    places = (_interfaces(tree, system), _adapters(tree, system), _base_adapters(tree, system))
    for port in (port for place in places for port in place if port.mac):
        known = found.get(port.mac)
        found[port.mac] = port if known is None else _joined(known, port)
    return tuple(found.values())


def _joined(first: Port, second: Port) -> Port:
    return Port(
        first.mac, first.name or second.name, first.model or second.model, first.speed or second.speed
    )


def _interfaces(tree: RedfishTree, system: Json) -> Iterator[Port]:
    for nic in tree.interfaces(system):
        speed = whole(nic, "SpeedMbps") or None
        yield Port(mac(nic, "PermanentMACAddress", "MACAddress"), told(nic, "Name", "Id"), speed=speed)


def _adapters(tree: RedfishTree, system: Json) -> Iterator[Port]:
    """NetworkAdapters of the chassis, those that the system's NetworkInterfaces lead to, and their ports."""
    adapters: dict[str, Json] = {}
    for chassis in tree.chassis(system):
        for adapter in tree.members(link(chassis, "NetworkAdapters")):
            adapters.setdefault(told(adapter, "@odata.id") or f"{len(adapters)}", adapter)
    functions: list[str | None] = []
    for interface in tree.members(link(system, "NetworkInterfaces")):
        path = link(as_dict(interface.get("Links")), "NetworkAdapter")
        if path and path not in adapters:
            adapters[path] = tree.look(path)
        functions.append(link(interface, "NetworkDeviceFunctions"))
    for adapter in adapters.values():
        model = told(adapter, "Model", "Name")
        yield from _ports_of(tree, adapter, model)
        path = link(adapter, "NetworkDeviceFunctions")
        functions = [one for one in functions if one != path]
        yield from _functions(tree, path, model)
    for path in functions:
        yield from _functions(tree, path, "")


def _ports_of(tree: RedfishTree, adapter: Json, model: str) -> Iterator[Port]:
    """`Ports`, or the older `NetworkPorts`, there or under the adapter's controllers."""
    paths = [link(adapter, "Ports"), link(adapter, "NetworkPorts")]
    ports = [port for path in paths for port in tree.members(path)]
    if not ports:
        for controller in as_list(adapter.get("Controllers")):
            under = as_dict(controller.get("Links"))
            ports += [
                tree.look(path) for name in ("Ports", "NetworkPorts") for path in links(under.get(name))
            ]
    for port in ports:
        gigabits = number(port, "CurrentSpeedGbps")
        speed = whole(port, "CurrentLinkSpeedMbps") if gigabits is None else int(gigabits * 1000)
        addresses = as_dict(port.get("Ethernet")).get("AssociatedMACAddresses")
        addresses = addresses or port.get("AssociatedNetworkAddresses")
        for address in addresses if isinstance(addresses, list) else []:
            yield Port(mac({"it": address}, "it"), told(port, "Name", "Id"), model, speed or None)


def _functions(tree: RedfishTree, path: str | None, model: str) -> Iterator[Port]:
    for function in tree.members(path):
        ethernet = as_dict(function.get("Ethernet"))
        address = mac(ethernet, "PermanentMACAddress", "MACAddress")
        yield Port(address, told(function, "Name", "Id"), model)


def _base_adapters(tree: RedfishTree, system: Json) -> Iterator[Port]:
    """iLO's own list, which alone names the cards (Oem.Hpe.Links.NetworkAdapters)."""
    for adapter in tree.members(linked({"Oem": system.get("Oem")}, "NetworkAdapters")):
        model = told(adapter, "Name", "StructuredName")
        for port in as_list(adapter.get("PhysicalPorts")):
            yield Port(
                mac(port, "MacAddress", "MACAddress"),
                told(port, "Name"),
                model,
                whole(port, "SpeedMbps") or None,
            )
