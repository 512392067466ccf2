"""The shipped bundle through the scorer: finite scores on odd pictures, reasons for the rest."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from pydicom.data import get_testdata_file

from models.card import file_sha256
from service.config import Score, Settings
from service.errors import ConfigError
from service.score.drawing import FrameSource
from service.score.scorer import Scorer
from tests.factories import chest, ct_slice, write


@pytest.fixture(scope="module")
def scorer():
    return Scorer(Settings(mode="shadow", data_dir=Path()).bundles, Score())


def score(scorer, *paths):
    return scorer.score([FrameSource(path, 1) for path in paths])


@pytest.mark.parametrize("rows", [64, 100, 128, 256, 512, 768])
@pytest.mark.parametrize("noise_hu", [1, 30, 300])
def test_every_matrix_and_noise_has_a_finite_score(scorer, tmp_path, rows, noise_hu):
    (path,) = write(tmp_path, ct_slice(1, pixels=chest(rows, noise_hu=noise_hu)))
    (result,) = score(scorer, path)
    assert result.score is not None, result.excluded
    assert 0 <= result.score <= 4
    assert result.noise_hu is None or result.noise_hu > 0


def test_a_real_slice_of_128_pixels_has_a_score(scorer):
    """Its weights underflowed in every patch at once, and the score was not a number."""
    (result,) = score(scorer, Path(get_testdata_file("CT_small.dcm")))
    assert result.score == pytest.approx(3.93, abs=0.1)


def test_scores_do_not_depend_on_the_company(scorer, tmp_path):
    datasets = [ct_slice(n, pixels=chest(256, noise_hu=(5, 25, 60)[n], seed=n)) for n in range(3)]
    paths = write(tmp_path, *datasets)
    together = [one.score for one in score(scorer, *paths)]
    alone = [score(scorer, path)[0].score for path in paths]
    np.testing.assert_allclose(together, alone, atol=1e-4)
    assert together == sorted(together, reverse=True), "more noise, lower score"


def test_a_constant_picture_and_a_missing_file_have_reasons(scorer, tmp_path):
    flat = ct_slice(1, pixels=np.full((128, 128), 1024, np.int16))
    (path,) = write(tmp_path, flat)
    constant, missing = score(scorer, path, tmp_path / "none.dcm")
    assert constant.excluded == "the image is constant"
    assert missing.excluded == "its file is missing from the spool"


def test_a_bundle_whose_golden_outputs_differ_is_not_served(tmp_path, scorer):

    folder = tmp_path / "bundles" / "ct"
    shutil.copytree(scorer.bundles[0].folder, folder)
    with np.load(folder / "golden.npz") as golden:
        arrays = dict(golden)
    arrays["score"] = arrays["score"] + 0.01
    old = file_sha256(folder / "golden.npz")
    np.savez_compressed(folder / "golden.npz", **arrays)
    card = folder / "card.toml"
    card.write_text(card.read_text().replace(old, file_sha256(folder / "golden.npz")))
    with pytest.raises(ConfigError, match=r"golden score differs by 0\.01 on this host"):
        Scorer(tmp_path / "bundles", Score())


def test_a_damaged_bundle_is_named(tmp_path, scorer):

    shutil.copytree(scorer.bundles[0].folder, tmp_path / "bundles" / "ct")
    with (tmp_path / "bundles" / "ct" / "model.onnx").open("ab") as file:
        file.write(b"x")
    with pytest.raises(ConfigError, match=r"model\.onnx: differs from the sha256"):
        Scorer(tmp_path / "bundles", Score())
    with pytest.raises(ConfigError, match="no bundle"):
        Scorer(tmp_path / "none", Score())
