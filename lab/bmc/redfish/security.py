"""Secure Boot and trusted platform modules by Redfish."""

from __future__ import annotations

from collections.abc import Iterator

from lab.bmc.api import Security, Tpm
from lab.bmc.redfish.json import Json, absent, as_dict, as_list, link, text, told
from lab.bmc.redfish.tree import RedfishTree
from lab.bmc.target import Unsupported

_STATES = {"Enabled": True, "Disabled": False}


def read_security(tree: RedfishTree) -> Security:
    """Secure Boot as the server last booted, else as it is set; and its TPMs.

    Raises:
        Unsupported: the BMC tells of neither.
    """
    with tree.within(120.0, "reading Secure Boot and TPMs"):
        system = tree.system
        boot = tree.look(link(system, "SecureBoot"))
        tpms = tuple(_tpms(tree, system))
    if not boot and not tpms and "TrustedModules" not in system:
        raise Unsupported("neither SecureBoot nor TrustedModules in the BMC's Redfish tree")
    now, enabled = _STATES.get(text(boot, "SecureBootCurrentBoot")), boot.get("SecureBootEnable")
    if now is None and isinstance(enabled, bool):
        now = enabled
    return Security(now, told(boot, "SecureBootMode"), tpms)


def _tpms(tree: RedfishTree, system: Json) -> Iterator[Tpm]:
    """`TrustedModules` of the system; newer services list TrustedComponents of the chassis instead."""
    listed = False
    for module in as_list(system.get("TrustedModules")):
        if not absent(module) and told(module, "InterfaceType"):
            listed = True
            yield Tpm(told(module, "InterfaceType"), told(module, "FirmwareVersion"), _enabled(module))
    if listed:
        return
    for chassis in tree.chassis(system):
        for component in tree.members(link(chassis, "TrustedComponents")):
            if not absent(component) and component:
                interface = told(component, "TrustedComponentType", "Name") or "TPM"
                yield Tpm(interface, told(component, "FirmwareVersion"), _enabled(component))


def _enabled(part: Json) -> bool | None:
    return _STATES.get(text(as_dict(part.get("Status")), "State"))
