"""Exported graphs: the same numbers as PyTorch, and nothing that TensorRT could not parse."""

import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pydicom
import pytest
import torch
from onnx import TensorProto, helper
from PIL import Image
from torch import Tensor, nn

from models import networks
from models.networks import operators
from models.networks.md_iqa import MDIQA
from models.networks.network import Network
from models.physical import to_hu
from models.render import CtWindow, resize
from trainer import export
from trainer.evaluation import session
from trainer.phantom import Chest

ROOT = Path(__file__).parents[2]
PARITY = 1e-4


@pytest.fixture(autouse=True, scope="module")
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True, scope="module")
def quiet_exporter() -> Iterator[None]:
    """torch.export traces itself at length once a root handler listens, as pytest's does."""
    loggers = [logging.getLogger(n) for n in ("torch", "torch.__trace", "onnxscript", "onnx_ir")]
    before = [one.disabled for one in loggers]
    for one in loggers:
        one.disabled = True
    yield
    for one, disabled in zip(loggers, before, strict=True):
        one.disabled = disabled


@pytest.fixture(scope="module")
def shared() -> Path:
    folder = Path(os.environ.get("IQGATE_SHARED", ROOT.parent / "shared")) / "data"
    if not folder.is_dir():
        pytest.skip(f"no sample series at {folder}; set IQGATE_SHARED to have this run")
    return folder


@dataclass(frozen=True)
class Exported:
    """A network as `export_graph` left it, and its graph."""

    architecture: str
    network: Network
    path: Path

    def check(self, pictures: np.ndarray) -> None:
        """Graph and network agree on pictures, as one batch and one by one."""
        served = self.network.served()
        with torch.no_grad():
            expected = [out.numpy() for out in served(torch.from_numpy(pictures))]
        running = session(self.path)
        assert tuple(one.name for one in running.get_outputs()) == self.network.served_outputs
        for batch in (len(pictures), 1):
            got = running.run(list(self.network.served_outputs), {"input": pictures[:batch]})
            # A score clipped to the end of its scale would agree with anything.
            assert 0 < got[0].min() <= got[0].max() < self.network.preset.highest
            for name, a, b in zip(self.network.served_outputs, got, expected, strict=True):
                assert np.abs(a - b[:batch]).max() <= PARITY, name


def random_pictures(network: Network, count: int) -> np.ndarray:
    shape = (count, network.preset.channels, network.preset.side, network.preset.side)
    return np.random.default_rng(4).random(shape, dtype=np.float32)


MIDDLE = {"score.3.bias": 1.0, "second.head.fc.bias": 2.0}
"""Last biases (MS-IQA's, TFKT's) that put untrained scores inside the scale."""


def chests(network: Network) -> np.ndarray:
    """Two slices of the digital chest, smooth as scans are, in as many channels as are read."""
    side = network.preset.side
    spec = CtWindow(side, side, 40.0, 400.0)
    drawn = [spec.draw(Chest.ordinary().slice(z_mm)) for z_mm in (60.0, 140.0)]
    return np.stack(drawn).repeat(network.preset.channels, axis=1)


def lively(network: Network) -> Network:
    """What starts at zero (offsets, last norms) gets values, and batch norms the statistics of
    pictures, so that a graph without either would not pass for the network.

    Of noise and of smooth pictures, as any training sees them: with the statistics of noise alone
    an EfficientNetV2-L amplifies a scan from block to block, to 10⁶, and float32 itself no longer
    repeats (docs/networks.md).
    """
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter += MIDDLE.get(name, 0.0)
        for parameter in network.parameters():
            if parameter.abs().max() == 0:
                parameter.normal_(0, 0.02)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 1.0
        pictures = np.concatenate([random_pictures(network, 1), chests(network)])
        network.train()(torch.from_numpy(pictures))
    return network.eval()


@pytest.fixture(scope="module")
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    architecture, preset = request.param
    torch.manual_seed(7)
    network = lively(networks.build(architecture, preset))
    path = tmp_path_factory.mktemp("graph") / "model.onnx"
    export.export_graph(network, random_pictures(network, 2), path)
    return Exported(architecture, network, path)


COMPACT = pytest.mark.parametrize(
    "exported", [(name, "compact") for name in networks.ARCHITECTURES], indirect=True, ids=str
)
PAPER = pytest.mark.parametrize(
    "exported", [(name, "paper") for name in networks.ARCHITECTURES], indirect=True, ids=str
)


def ct(shared: Path, side: int) -> np.ndarray:
    paths = sorted((shared / "ct/philips_brilliance16_chest_lidc0314").iterdir())[::20]
    spec = CtWindow(side, side, 40.0, 400.0)
    slices = [pydicom.dcmread(path) for path in paths[:2]]
    return np.stack([spec.draw(to_hu(ds.pixel_array, ds)) for ds in slices])


def mr(shared: Path, side: int) -> np.ndarray:
    paths = sorted((shared / "mr/siemens_skyra_prostatex0207").rglob("*.dcm"))[::30]
    drawn = []
    for path in paths[:2]:
        values = pydicom.dcmread(path).pixel_array.astype(np.float32)
        drawn.append(resize(np.clip(values / np.percentile(values, 99), 0, 1), side, side)[None])
    return np.stack(drawn)


def pet_ct(shared: Path, side: int) -> np.ndarray:
    paths = sorted((shared / "scored/pet_ct_iqa_ds").rglob("*.jpg"))[::150]
    drawn = [Image.open(path).convert("RGB").resize((side, side)) for path in paths[:2]]
    return np.stack([np.asarray(one, np.float32).transpose(2, 0, 1) / 255 for one in drawn])


REAL: dict[str, Callable[[Path, int], np.ndarray]] = {
    "ms-iqa": pet_ct,
    "md-iqa": ct,
    "miqanet": mr,
    "tfkt": ct,
}


@COMPACT
def test_compact_graph_stays_inside_the_list(exported: Exported) -> None:
    model = onnx.load(exported.path)
    assert operators.faults(model) == []
    assert operators.operators(model) <= set(operators.load_table().supported)
    assert [opset.version for opset in model.opset_import] == [export.OPSET]


@COMPACT
def test_compact_graph_equals_pytorch_on_random_pictures(exported: Exported) -> None:
    exported.check(random_pictures(exported.network, 3))


@COMPACT
def test_compact_graph_equals_pytorch_on_real_slices(exported: Exported, shared: Path) -> None:
    exported.check(REAL[exported.architecture](shared, exported.network.preset.side))


class Curves(nn.Module):
    """MD-IQA's distributions at their peak of one, which nobody is served."""

    def __init__(self, network: MDIQA) -> None:
        super().__init__()
        self.network = network

    def forward(self, pictures: Tensor) -> tuple[Tensor]:
        logits = self.network(pictures)
        return ((logits - logits.amax(dim=-1, keepdim=True)).exp(),)


@pytest.mark.parametrize("exported", [("md-iqa", "compact")], indirect=True, ids=str)
def test_distributions_equal_pytorch(exported: Exported, shared: Path, tmp_path: Path) -> None:
    assert isinstance(exported.network, MDIQA)
    curves = Curves(exported.network)
    pictures = np.concatenate(
        [random_pictures(exported.network, 2), ct(shared, exported.network.preset.side)]
    )
    export.write_onnx(curves, ["curves"], pictures[:2], tmp_path / "curves.onnx")
    with torch.no_grad():
        export.check_parity(
            tmp_path / "curves.onnx",
            pictures,
            {"curves": curves(torch.from_numpy(pictures))[0].numpy()},
        )


@pytest.mark.paper
@PAPER
def test_paper_graph_equals_pytorch_and_stays_inside_the_list(
    exported: Exported, shared: Path
) -> None:
    model = onnx.load(exported.path)
    assert operators.faults(model) == []
    exported.check(random_pictures(exported.network, 2))
    exported.check(REAL[exported.architecture](shared, exported.network.preset.side))
    exported.path.unlink()  # hundreds of megabytes


@pytest.mark.parametrize("path", sorted(ROOT.glob("*/bundles/*/model.onnx")), ids=str)
def test_bundles_stay_inside_the_list(path: Path) -> None:
    assert operators.faults(onnx.load(path)) == []


def test_the_table_says_what_it_is() -> None:
    table = operators.load_table()
    assert "onnx-tensorrt" in table.source
    assert table.tensorrt in table.source
    assert table.opset_min <= export.OPSET <= table.opset_max
    assert not set(table.supported) & table.unsupported
    assert len(table.supported) + len(table.unsupported) == 200


def one_node(
    operator: str,
    rank: int = 4,
    inputs: tuple[str, ...] = ("x",),
    outputs: tuple[str, ...] = ("y",),
    opset: int = 18,
    domain: str = "",
    **attributes: object,
) -> onnx.ModelProto:
    """A graph of one node whose inputs have a rank."""
    node = helper.make_node(operator, inputs, outputs, "node", domain=domain, **attributes)
    shape = [1, 2, 8, 8, 8][:rank]
    graph = helper.make_graph(
        [node],
        "graph",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in inputs if name],
        [helper.make_tensor_value_info(outputs[0], TensorProto.FLOAT, None)],
    )
    opsets = [helper.make_opsetid("", opset)]
    if domain:
        opsets.append(helper.make_opsetid(domain, 1))
    return helper.make_model(graph, opset_imports=opsets)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (one_node("Unique"), "Unique is not in TensorRT"),
        (one_node("Relu", domain="com.example"), "com.example::Relu is not in TensorRT"),
        (one_node("Relu", opset=25), "opset 25 is outside 9 to 24"),
        (one_node("Resize", inputs=("x", "", "s"), mode="cubic"), "Resize breaks"),
        (one_node("Resize", inputs=("x", "", "s"), antialias=1), "Resize breaks"),
        (one_node("MaxPool", outputs=("y", "i"), kernel_shape=[2, 2]), "MaxPool breaks"),
        (one_node("MaxPool", kernel_shape=[2, 2], dilations=[2, 2]), "MaxPool breaks"),
        (one_node("LayerNormalization", inputs=("x", "s"), outputs=("y", "m")), "first output"),
        (one_node("ReduceMean", inputs=("x", "axes")), "axes an initializer"),
        (one_node("TopK", inputs=("x", "k"), outputs=("y", "i"), sorted=0), "TopK breaks"),
        (one_node("GridSample", rank=5, inputs=("x", "g"), opset=20), "4-D input"),
    ],
)
def test_what_tensorrt_could_not_parse_is_said(model: onnx.ModelProto, said: str) -> None:
    assert [said in fault for fault in operators.faults(model)] == [True]


@pytest.mark.parametrize(
    "model",
    [
        one_node("GridSample", inputs=("x", "g")),
        one_node("Resize", inputs=("x", "", "s"), mode="linear"),
        one_node("MaxPool", kernel_shape=[2, 2]),
    ],
)
def test_what_it_can_parse_passes(model: onnx.ModelProto) -> None:
    assert operators.faults(model) == []
