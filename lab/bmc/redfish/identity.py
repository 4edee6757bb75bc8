"""Who a BMC says it is by Redfish; the generations it may name are data (`generations.yaml`)."""

from __future__ import annotations

import functools
import re
from importlib import resources

from lab.bmc.capability import Identity
from lab.bmc.quirk_model import Regex
from lab.bmc.redfish.json import Json, as_dict, as_list, oems, text, told
from lab.bmc.redfish.tree import RedfishTree
from lab.rack.values import Strict
from lab.strict_yaml import load_model


class Generation(Strict):
    """One entry of `generations.yaml`; both conditions must fit where both are given."""

    name: str
    oem: str | None = None
    text: Regex | None = None


class GenerationFile(Strict):
    """`lab/bmc/redfish/generations.yaml`."""

    generations: tuple[Generation, ...]


def read_identity(tree: RedfishTree) -> Identity:
    """Vendor and model of the server, generation and firmware version of its BMC.

    The vendor is who built the server and, in brackets, whose BMC software it is where that is another.
    """
    with tree.within(60.0, "finding out who the BMC is"):
        root, system = tree.root, tree.system
        manager = next((one for one in tree.managers(system) if one), {})
    maker, software = told(system, "Manufacturer"), told(root, "Vendor")
    other = software and software.lower() not in maker.lower()
    return Identity(
        vendor=(f"{maker} ({software})" if maker else software) if other else maker,
        model=told(system, "Model"),
        generation=_generation(root, system, manager),
        firmware=told(manager, "FirmwareVersion"),
    )


def _generation(root: Json, system: Json, manager: Json) -> str:
    keys = {key.lower() for body in (root, system, manager) for key in as_dict(body.get("Oem"))}
    types = [text(one, "ManagerType") for oem in oems(root) for one in as_list(oem.get("Manager"))]
    said = [text(manager, "Model"), text(manager, "FirmwareVersion"), *types]
    said += [text(root, "Product"), text(root, "Vendor"), text(root, "Name")]
    for entry in _known():
        fits = entry.oem is None or entry.oem in keys
        found = re.search(entry.text, "\n".join(said), re.IGNORECASE) if entry.text else None
        if fits and (found or entry.text is None):
            return found.expand(entry.name) if found else entry.name
    return ""


@functools.cache
def _known() -> tuple[Generation, ...]:
    with resources.as_file(resources.files("lab.bmc.redfish") / "generations.yaml") as file:
        return load_model(file, GenerationFile).generations
