"""MR through the scorer: one scale a stack, whatever came first; ends without anatomy; SNR."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import EnhancedMRImageStorage

from models.intensity import slice_level, stack_level
from models.measure import foreground_snr
from service import header
from service.assess import assess, gather
from service.config import Score, Settings
from service.judge.policy import parse_policy
from service.score.drawing import FrameSource
from service.score.scorer import Scorer
from tests.factories import head, mr_slice, write
from tests.synthetic import write_bundle

RENDER = {"kind": "mr-stack", "rows": 128, "columns": 128}
POLICY = parse_policy('[[rule]]\nname = "mr"\nmodality = "MR"\nmeets = 2.0')


@pytest.fixture(scope="module")
def scorer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles")
    write_bundle(folder / "mr-test", "MR", RENDER)
    return Scorer(folder, Score())


def score(scorer, *paths, levels=None):
    return scorer.score([FrameSource(path, 1, levels or {}) for path in paths])


def test_a_batch_shares_its_stacks_scale(scorer, tmp_path):
    """A dark slice stays dark: its own brightest tissue is not stretched to white."""
    factors = (1.0, 0.6, 1.2)
    paths = write(
        tmp_path, *(mr_slice(n, pixels=head(scale=factor)) for n, factor in enumerate(factors))
    )
    results = score(scorer, *paths)
    own = [slice_level(head(scale=factor).astype(np.float32)).level for factor in factors]
    assert [one.level for one in results] == pytest.approx(own)
    assert {one.drawn_at_level for one in results} == {stack_level(own)}
    scores = [one.score for one in results]
    assert scores[1] > scores[0] > scores[2], "the score is 4 less the brightness"


def test_what_is_known_of_the_stack_counts(scorer, tmp_path):
    (path,) = write(tmp_path, mr_slice(1))
    (alone,) = score(scorer, path)
    (told,) = score(scorer, path, levels={"axial": (2000.0, 2000.0), "sagittal": (50.0,)})
    assert told.level == alone.level
    assert told.drawn_at_level == stack_level([2000.0])
    assert told.score > alone.score


def test_slices_beyond_the_patient_do_not_vote(scorer, tmp_path):
    """Most of a stack may be noise; its level, a thousandth of anatomy's, must not count."""
    noise = [mr_slice(n, pixels=head(scale=0.0, noise=3, seed=n)) for n in range(4)]
    anatomy = [mr_slice(n, pixels=head(seed=n)) for n in range(4, 7)]
    results = score(scorer, *write(tmp_path, *noise, *anatomy))
    assert [one.score is None for one in results] == [True] * 4 + [False] * 3
    assert "no anatomy" in results[0].excluded
    assert results[0].drawn_at_level == results[-1].drawn_at_level
    assert results[0].drawn_at_level == pytest.approx(1000, rel=0.06)


def test_a_slice_with_little_in_view_is_refused_and_a_constant_one(scorer, tmp_path):
    small = head()
    small[:98] = 0
    constant = mr_slice(2, pixels=np.full((128, 128), 7, np.int16))
    little, flat = score(scorer, *write(tmp_path, mr_slice(1, pixels=small), constant))
    assert "no anatomy" in little.excluded
    assert flat.excluded == "the image is constant"


@pytest.mark.parametrize("representation", [0, 1])
def test_signed_and_unsigned_pixels_score_the_same(scorer, tmp_path, representation):
    (path,) = write(tmp_path, mr_slice(1, PixelRepresentation=representation))
    (plain,) = score(scorer, *write(tmp_path / "plain", mr_slice(1)))
    assert score(scorer, path)[0].score == pytest.approx(plain.score)


def test_philips_display_scaling_is_undone(scorer, tmp_path):
    """Slices scaled each for display differ in stored values and not in signal."""

    def philips(number: int, slope: float, scale_slope: float):
        stored = np.clip(np.rint(head(seed=5) * scale_slope), 0, 32767).astype(np.int16)
        ds = mr_slice(number, pixels=stored, RescaleSlope=slope, RescaleIntercept=0)
        block = ds.private_block(0x2005, "Philips MR Imaging DD 001", create=True)
        block.add_new(0x0E, "FL", scale_slope)
        return ds

    one, other = score(scorer, *write(tmp_path, philips(1, 2.0, 1.0), philips(2, 0.5, 8.0)))
    assert one.level == pytest.approx(other.level, rel=0.01)
    assert one.score == pytest.approx(other.score, abs=0.01)


def test_signal_to_noise_is_that_of_the_foreground():
    rng = np.random.default_rng(2)
    for noise in (5.0, 20.0, 60.0):
        disc = head(256, noise=0.0).astype(np.float32)
        signal = np.hypot(
            disc + rng.normal(0, noise, disc.shape), rng.normal(0, noise, disc.shape)
        ).astype(np.float32)
        assert foreground_snr(signal, 1000.0) == pytest.approx(515 / noise, rel=0.2)
    assert foreground_snr(np.zeros((64, 64), np.float32), 1000.0) is None
    assert foreground_snr(np.full((64, 64), 500, np.float32), 1000.0) is None, "no noise at all"


def enhanced(frames: int):
    """An enhanced object of two b-values, frames of the second a third as bright."""
    bright = [head(seed=n) for n in range(frames)]
    dark = [head(seed=n, scale=0.3) for n in range(frames)]
    ds = mr_slice(1, pixels=bright[0], SOPClassUID=EnhancedMRImageStorage)
    del ds.ImagePositionPatient, ds.ImageOrientationPatient
    ds.NumberOfFrames = 2 * frames
    ds.PixelData = np.stack([*bright, *dark]).tobytes()
    ds["PixelData"].VR = "OW"

    def item(**values):
        inner = Dataset()
        for keyword, value in values.items():
            setattr(inner, keyword, value)
        return inner

    shared = item(
        PlaneOrientationSequence=[item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
        MRImageFrameTypeSequence=[item(FrameType=["ORIGINAL", "PRIMARY", "DIFFUSION", "NONE"])],
    )
    ds.SharedFunctionalGroupsSequence = [shared]
    ds.PerFrameFunctionalGroupsSequence = [
        item(
            PlanePositionSequence=[item(ImagePositionPatient=[0, 0, 4.0 * number])],
            MRDiffusionSequence=[item(DiffusionBValue=b)],
            PixelValueTransformationSequence=[item(RescaleSlope=1, RescaleIntercept=0)],
        )
        for b in (0.0, 1000.0)
        for number in range(frames)
    ]
    return ds


def test_an_enhanced_object_is_scored_frame_by_frame_on_the_scale_of_its_b_value(scorer, tmp_path):
    (path,) = write(tmp_path, enhanced(3))
    results = scorer.score([FrameSource(path, number) for number in range(1, 7)])
    assert [one.stack for one in results] == ["axial, b 0"] * 3 + ["axial, b 1000"] * 3
    assert [one.position_mm for one in results] == [0.0, 4.0, 8.0] * 2
    low, high = results[0], results[-1]
    assert high.drawn_at_level == pytest.approx(0.3 * low.drawn_at_level, rel=0.06)
    assert high.score == pytest.approx(low.score, abs=0.15)


def test_assess_does_not_depend_on_the_order_of_files(scorer, tmp_path):
    """Batches of two: the first is drawn before the rest of its stack is known."""
    factors = [0.5, 0.55, 1.0, 1.1, 1.2, 1.05, 0.9]
    slices = [mr_slice(n, pixels=head(seed=n, scale=f)) for n, f in enumerate(factors)]
    settings = Settings(mode="shadow", data_dir=Path(), score=Score(batch_size=2))

    def scores(order):
        paths = write(tmp_path, *slices)
        ((series,), _) = gather([paths[place] for place in order], 10**7)
        found = assess(series, scorer, POLICY, settings)
        assert found.assessment.slices_scored == len(factors)
        return {one.instance_number: one.score for one in found.slices}

    forwards = scores(range(len(factors)))
    assert scores(reversed(range(len(factors)))) == pytest.approx(forwards)
    assert scores([3, 0, 6, 2, 5, 1, 4]) == pytest.approx(forwards)


REAL = {
    "mr/siemens_skyra_prostatex0207/t2_tse_tra": (21, 21, (20, 32)),
    "mr/siemens_skyra_prostatex0207/dce": (16, 16, (18, 40)),
    "mr/siemens_skyra_prostatex0207/adc": (19, 0, None),
    "mr/ge_signahdxt_brain_t1_irspgr_defaced": (30, 30, (6, 16)),
}


@pytest.mark.parametrize("folder", REAL)
def test_real_series(scorer, shared_data, folder):
    paths = sorted(path for path in (shared_data / folder).rglob("*") if path.is_file())
    count, scored, snr = REAL[folder]
    assert len(paths) == count
    results = score(scorer, *paths)
    assert sum(one.score is not None for one in results) == scored
    if snr is None:
        assert {one.excluded for one in results} == {"a parametric map"}
        return
    assert len({one.drawn_at_level for one in results}) == 1
    assert snr[0] < np.median([one.snr for one in results]) < snr[1]


def test_the_ends_of_a_real_brain_are_refused(scorer, shared_data):
    """Its spaced slices run far beyond the head on both sides."""
    folder = shared_data / "mr/ge_signahdxt_brain_t1_irspgr_defaced_spaced"
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    results = score(scorer, *paths)
    places = [header.number(dcmread(path, stop_before_pixels=True), "InstanceNumber")
              for path in paths]  # fmt: skip
    scored = [n for n, one in zip(places, results, strict=True) if one.score is not None]
    assert 15 <= len(scored) <= 30
    assert max(scored) - min(scored) < 110, "what is scored lies in the middle"
    assert all("no anatomy" in one.excluded for one in results if one.score is None)
