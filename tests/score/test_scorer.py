"""The shipped bundle through the scorer: finite scores on odd pictures, reasons for the rest."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import tomlkit
from pydicom import Dataset
from pydicom.data import get_testdata_file
from pydicom.uid import EnhancedCTImageStorage

from models.card import file_sha256
from models.domain import CT
from service.config import Score, Settings
from service.errors import ConfigError
from service.score.drawing import FrameSource
from service.score.scorer import Scorer
from tests.factories import chest, ct_slice, ellipses, write
from tests.synthetic import CT_RENDER, write_bundle


@pytest.fixture(scope="module")
def scorer():
    return Scorer(Settings(mode="shadow", data_dir=Path()).bundles, Score())


def score(scorer, *paths):
    return scorer.score([FrameSource(path, 1) for path in paths])


@pytest.mark.parametrize("rows", [64, 100, 128, 256, 512, 768])
@pytest.mark.parametrize("noise_hu", [1, 30, 300])
def test_every_matrix_and_noise_has_a_finite_score(scorer, tmp_path, rows, noise_hu):
    spacing = [400 / rows] * 2
    (path,) = write(
        tmp_path, ct_slice(1, pixels=chest(rows, noise_hu=noise_hu), PixelSpacing=spacing)
    )
    (result,) = score(scorer, path)
    assert result.score is not None, result.excluded
    assert 0 <= result.score <= 4
    assert result.noise_hu is None or result.noise_hu > 0


def test_a_real_slice_of_128_pixels_has_a_score(scorer, tmp_path):
    """Its weights underflowed in every patch at once, and the score was not a number. Its field of
    view of 85 mm is no chest's, so it is shown to the network without limits."""
    bundle = scorer.bundles[0]
    copy = shutil.copytree(bundle.folder, tmp_path / "bundles" / "ct")
    card = tomlkit.parse((copy / "card.toml").read_text("utf-8"))
    card.pop("domain", None)
    (copy / "card.toml").write_text(tomlkit.dumps(card), "utf-8")
    (result,) = score(
        Scorer(tmp_path / "bundles", Score()), Path(get_testdata_file("CT_small.dcm"))
    )
    assert result.excluded is None
    assert 0 <= result.score <= 4


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
    with pytest.raises(ConfigError, match=r"score: largest difference 0\.01, allowed 0\.001"):
        Scorer(tmp_path / "bundles", Score())


def test_a_damaged_bundle_is_named(tmp_path, scorer):

    shutil.copytree(scorer.bundles[0].folder, tmp_path / "bundles" / "ct")
    with (tmp_path / "bundles" / "ct" / "model.onnx").open("ab") as file:
        file.write(b"x")
    with pytest.raises(ConfigError, match=r"model\.onnx: differs from the sha256"):
        Scorer(tmp_path / "bundles", Score())
    with pytest.raises(ConfigError, match="no bundle"):
        Scorer(tmp_path / "none", Score())


@pytest.fixture(scope="module")
def limited(tmp_path_factory):
    """A scorer of a small bundle with a domain."""
    folder = tmp_path_factory.mktemp("limited")
    limits = {name: one.reach for name, one in CT.items()}
    write_bundle(folder / "ct-test", "CT", CT_RENDER, domain=limits)
    return Scorer(folder, Score())


def test_out_of_domain_is_a_reason_and_no_number(limited, tmp_path):
    water = ellipses(256, -1000.0, (0, 0, 0.4, 0.4, 0.0)) + 1024
    phantom = ct_slice(1, pixels=water.astype(np.int16), PixelSpacing=[1, 1])
    patient = ct_slice(2, pixels=chest(256))
    narrow = ct_slice(3, pixels=chest(256), PixelSpacing=[0.3, 0.3])
    of_phantom, of_patient, of_narrow = score(limited, *write(tmp_path, phantom, patient, narrow))
    assert of_phantom.excluded == (
        "out of domain: 98 % of the tissue lies within 40 HU, the network is for up to 86 %"
    )
    assert (of_phantom.score, of_phantom.stack) == (None, "axial, kV 120")
    assert of_patient.score is not None
    assert "the field of view is 76.8 mm wide" in of_narrow.excluded


def test_values_that_are_no_hounsfield_units_are_a_reason(limited, tmp_path):
    offset = ct_slice(1, RescaleIntercept=0, pixels=np.maximum(chest(256), 30))
    (result,) = score(limited, *write(tmp_path, offset))
    assert "its values cannot be Hounsfield units: nothing in the picture is air" in result.excluded


def test_frames_of_an_enhanced_ct_are_rescaled_each_by_its_own(limited, tmp_path):
    """The same HU stored on two scales: the same score; position and kernel by frame too."""
    hu = chest(256).astype(np.float32) - 1024
    ds = ct_slice(
        1,
        SOPClassUID=EnhancedCTImageStorage,
        RescaleSlope=None,
        RescaleIntercept=None,
        RescaleType=None,
        ImagePositionPatient=None,
        ConvolutionKernel=None,
        KVP=None,
        pixels=(hu + 1024).astype(np.int16),
    )

    def item(**values):
        inner = Dataset()
        for keyword, value in values.items():
            setattr(inner, keyword, value)
        return inner

    scales = ((1, -1024), (2, -2000))
    ds.NumberOfFrames = 2
    frames = [np.rint((hu - offset) / slope).astype(np.int16) for slope, offset in scales]
    ds.PixelData = np.stack(frames).tobytes()
    ds["PixelData"].VR = "OW"
    ds.SharedFunctionalGroupsSequence = [
        item(CTReconstructionSequence=[item(ConvolutionKernel="B30f")])
    ]
    ds.PerFrameFunctionalGroupsSequence = [
        item(
            PlanePositionSequence=[item(ImagePositionPatient=[0, 0, 3.0 * number])],
            PixelValueTransformationSequence=[
                item(RescaleSlope=slope, RescaleIntercept=offset, RescaleType="HU")
            ],
        )
        for number, (slope, offset) in enumerate(scales)
    ]
    (path,) = write(tmp_path, ds)
    one, other = limited.score([FrameSource(path, 1), FrameSource(path, 2)])
    assert (one.excluded, other.excluded) == (None, None)
    assert one.score == pytest.approx(other.score, abs=1e-3)
    assert (one.position_mm, other.position_mm) == (0.0, 3.0)
    assert (one.stack, other.stack) == ("axial", "axial")


def test_the_head_phantom_is_not_assessed_and_chests_are(limited, shared_data):
    heads = sorted(shared_data.glob("ct/*headphantom*/*.dcm"))
    reasons = [one.excluded for one in score(limited, *heads)]
    assert len(reasons) == 12
    assert all("out of domain: tissue covers" in one for one in reasons)
    chests = sorted((shared_data / "ct/philips_brilliance16_chest_lidc0314").glob("*.dcm"))[::4]
    assert [one.excluded for one in score(limited, *chests)] == [None] * len(chests)


@pytest.fixture
def three(tmp_path):
    for name, modality, render in (
        ("ct-a", "CT", CT_RENDER),
        ("ct-b", "CT", CT_RENDER),
        ("mr-a", "MR", {"kind": "mr-stack", "rows": 64, "columns": 64}),
    ):
        write_bundle(tmp_path / "three" / name, modality, render)
    return tmp_path / "three"


@pytest.mark.parametrize(
    ("names", "served"),
    [((), ["ct-a", "mr-a"]), (("ct-b",), ["ct-b"]), (("mr-a", "ct-b"), ["ct-b", "mr-a"])],
)
def test_the_bundles_that_are_named_serve(three, names, served):
    scorer = Scorer(three, Score(serve=names))
    assert [one.card.name for one in scorer.bundles] == served
    assert len(scorer.engines) == len(served), "others are not even loaded"


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("ct-x",), r"no bundle 'ct-x' lies in .*three; there is ct-a, ct-b, mr-a"),
        (("ct-a", "ct-b"), "ct-a and ct-b both score CT; name one of them"),
    ],
)
def test_a_choice_of_bundles_that_cannot_be_is_named(three, names, words):
    with pytest.raises(ConfigError, match=words):
        Scorer(three, Score(serve=names))
