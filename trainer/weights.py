"""Weights of backbones: files on this machine first, a hub only where that is allowed.

A hospital trains offline: weights lie in a folder as `<timm name>.safetensors` (or `.pth`, `.bin`;
`models.networks.backbone`). What a network really took from them is recorded with the file's
SHA-256, for the run's configuration and the bundle's card.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import save_file
from timm.models import load_state_dict

from models import networks
from models.card import StartingWeights, file_sha256
from models.networks.backbone import weight_file
from models.networks.network import Network
from trainer.settings import Weights

SOURCES_NAME = "sources.json"
"""Beside the weights: of each backbone's, `source`, and `licence` where it is known."""


class WeightsError(ValueError):
    """Weights are not there, or are not what they should be; the message says which."""


def build(
    architecture: str, preset: str, ablations: Iterable[str], weights: Weights
) -> tuple[Network, tuple[StartingWeights, ...]]:
    """A network on its backbones' weights, and the record of them; empty from scratch.

    Raises WeightsError where the folder is missing or a backbone's file is not in it.
    """
    chosen = frozenset(ablations)
    if not weights.folder:
        if weights.hub:
            raise WeightsError("weights.hub needs weights.folder, to keep there what it fetches")
        return networks.build(architecture, preset, ablations=chosen), ()
    path = Path(weights.folder)
    if weights.hub:
        path.mkdir(parents=True, exist_ok=True)
        # The ablations change which backbones there are; a network from scratch tells.
        for name in backbones(networks.build(architecture, preset, ablations=chosen)):
            if not _lies(name, path):
                fetch(name, path)
    if not path.exists():
        raise WeightsError(
            f"{path}: no such file or folder of weights; put <timm name>.safetensors there, or "
            "have them fetched with --allow-hub (weights.hub=true)"
        )
    try:
        network = networks.build(architecture, preset, weights=path, ablations=chosen)
    except FileNotFoundError as error:
        raise WeightsError(f"{error}; or fetch it with --allow-hub (weights.hub=true)") from error
    return network, taken(network, path)


def backbones(network: Network) -> tuple[str, ...]:
    """The timm names that a network's preset states, but for those it says have no weights.

    Where a preset's field `second` names a backbone, its `second_weights` may be False.
    """
    preset: Any = network.preset
    if not is_dataclass(preset):
        return ()
    stated = {field.name: getattr(preset, field.name) for field in fields(preset)}
    return tuple(
        dict.fromkeys(
            value
            for key, value in stated.items()
            if isinstance(value, str)
            and timm.is_model(value)
            and stated.get(f"{key}_weights", True)
        )
    )


def taken(network: Network, path: Path) -> tuple[StartingWeights, ...]:
    """A record of every file whose tensors are found, value for value, in the network."""
    inside: dict[tuple[int, ...], list[torch.Tensor]] = {}
    for tensor in network.state_dict().values():
        inside.setdefault(tuple(tensor.shape), []).append(tensor)
    records = []
    for name in backbones(network):
        if not _lies(name, path):
            continue
        file = weight_file(name, path)
        matrices = [t for t in load_state_dict(str(file)).values() if t.ndim > 1]
        found = [
            any(torch.equal(t, mine) for mine in inside.get(tuple(t.shape), [])) for t in matrices
        ]
        # A first layer adapted to other channels, and a head that was dropped, are not found.
        if sum(found) > len(found) // 2:
            origin = _origin(file, name)
            records.append(StartingWeights(name, file.name, file_sha256(file), **origin))
    return tuple(records)


def fetch(name: str, folder: Path) -> Path:
    """Fetch a backbone's weights from timm's hub into a folder. Raises WeightsError offline."""
    try:
        model: Any = timm.create_model(name, pretrained=True)
    except (OSError, RuntimeError) as error:
        raise WeightsError(f"{name}: timm's hub gave no weights: {error}") from error
    configuration = model.pretrained_cfg
    source = configuration.get("hf_hub_id") or configuration.get("url") or "timm"
    licence = configuration.get("license") or ""
    return _keep(model.state_dict(), name, folder, f"timm hub: {source}", licence)


def adopt(file: Path, name: str, folder: Path, licence: str = "") -> Path:
    """Keep a file of foreign tensor names as the weights of a timm backbone.

    licence: the file's, for the record; empty where it is not known.

    The tensors are matched by their order, which is safe only where every shape agrees: ports of
    one network keep the order of its layers. Raises WeightsError where they do not agree, and for
    a safetensors file, which does not keep the order.
    """
    if file.suffix == ".safetensors":
        raise WeightsError(f"{file}: safetensors sorts its tensors; adopt the .pth or .bin file")
    theirs: dict[str, torch.Tensor] = load_state_dict(str(file))
    model: Any = timm.create_model(name, pretrained=False)
    ours = model.state_dict()
    if [tuple(t.shape) for t in theirs.values()] != [tuple(t.shape) for t in ours.values()]:
        raise WeightsError(f"{file}: its {len(theirs)} tensors are not in shape those of {name}")
    source = f"{file.name}, sha256 {file_sha256(file)}"
    return _keep(dict(zip(ours, theirs.values(), strict=True)), name, folder, source, licence)


def as_tables(records: Iterable[StartingWeights]) -> list[dict[str, str]]:
    """Records as a run's configuration keeps them."""
    return [asdict(record) for record in records]


def _keep(
    state: dict[str, torch.Tensor], name: str, folder: Path, source: str, licence: str
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.safetensors"
    sources = folder / SOURCES_NAME
    # Several processes may fetch at once: whatever one of them reads must be whole.
    partial = folder / f"{name}.{os.getpid()}.tmp"
    save_file({key: tensor.contiguous() for key, tensor in state.items()}, str(partial))
    partial.replace(path)
    known = json.loads(sources.read_text("utf-8")) if sources.exists() else {}
    known[name] = {"source": source, "licence": licence}
    partial.write_text(json.dumps(known, indent=1) + "\n", "utf-8")
    partial.replace(sources)
    return path


def _lies(name: str, path: Path) -> bool:
    try:
        weight_file(name, path)
    except FileNotFoundError:
        return False
    return True


def _origin(file: Path, name: str) -> dict[str, str]:
    """`source` and `licence` of a file. Raises WeightsError where `sources.json` is none."""
    sources = file.parent / SOURCES_NAME
    known = json.loads(sources.read_text("utf-8")) if sources.exists() else {}
    origin = known.get(name, {})
    if not isinstance(origin, dict):
        raise WeightsError(f'{sources}: write {name} as {{"source": …, "licence": …}}')
    return {
        "source": str(origin.get("source", "local file")),
        "licence": str(origin.get("licence", "")),
    }
