"""Where the real images are, and a recipe small enough for a test."""

import logging
import os
import re
from pathlib import Path

import pytest
import torch

from trainer.recipe import Recipe, load_recipe, parse_recipe

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "conf/recipes/ct-md-iqa-compact.toml"


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Small pictures gain nothing from threads, and threads that wait for each other lose much."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def quiet_exporter(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch.export traces itself at length once a root handler listens, as pytest's does."""
    for name in ("torch", "torch.__trace", "onnxscript", "onnx_ir"):
        monkeypatch.setattr(logging.getLogger(name), "disabled", True)


@pytest.fixture
def clinical_data() -> Path:
    """The root of the public sample series; a test that needs it skips where it is absent."""
    shared = Path(os.environ.get("IQGATE_SHARED", ROOT.parent / "shared"))
    if not (shared / "data/ct").is_dir():
        pytest.skip(f"no sample series at {shared}/data; set IQGATE_SHARED to have this run")
    return shared / "data"


@pytest.fixture
def recipe() -> Recipe:
    return load_recipe(RECIPE)


@pytest.fixture
def small_recipe() -> Recipe:
    """The shipped recipe with four phantom slices, four epochs and plain FP32."""
    text = RECIPE.read_text("utf-8")
    for key, value in {
        "phantom_slices": "4",
        "per_slice": "5",
        "drawings": "1",
        "most_repeats": "1",
        "epochs": "4",
        "batch_size": "5",
        "precision": '"32"',
        "threads": "1",
    }.items():
        text = re.sub(rf"^{key} = .*$", f"{key} = {value}", text, flags=re.MULTILINE)
    return parse_recipe(text)
