"""MR slices for training: read by stack, varied as scanners vary, drawn as the gate draws them."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from models.intensity import grid_level, slice_level, stack_level
from models.render import Float, MrStack
from tests.factories import ct_slice
from trainer.datasets import DatasetError
from trainer.datasets.mr import MrSlice, read_mr_slices, read_nifti
from trainer.degradations import degrade
from trainer.phantom_mr import mr_slice
from trainer.recipe import Recipe, load_recipe
from trainer.simulation import subjects
from trainer.simulation.case import Case
from trainer.simulation.mr import NAMED, Appearance, MrSubject, resampled

RECIPE = Path(__file__).parents[2] / "conf/recipes/mr-miqanet-compact.toml"
SIDE = 64


@pytest.fixture
def mr_recipe() -> Recipe:
    return load_recipe(RECIPE, ["simulation.phantom_slices=2"])


@pytest.fixture
def phantom(mr_recipe: Recipe) -> MrSubject:
    return next(iter(subjects(mr_recipe.source("iqgate-mr"), mr_recipe, None)))  # type: ignore[return-value]


def write_stack(folder: Path, signals: list[Float], **overrides: object) -> None:
    """One MR stack, a file a slice, 3 mm apart."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, signal in enumerate(signals, start=1):
        ds = ct_slice(number, Modality="MR", **overrides)
        ds.Rows, ds.Columns = signal.shape
        ds.RescaleSlope, ds.RescaleIntercept, ds.PixelRepresentation = 1, 0, 0
        ds.InPlanePhaseEncodingDirection = "ROW"
        ds.ImagePositionPatient = [0, 0, 3.0 * number]
        ds.PixelData = np.rint(signal).astype(np.uint16).tobytes()
        ds.save_as(folder / f"{number}.dcm", enforce_file_format=True)


def disc(bright: float, radius: float = 20.0) -> Float:
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE / 2
    inside = np.hypot(y, x) < radius
    return np.where(inside, bright * (1 + x / SIDE), 2.0).astype(np.float32)


def test_slices_come_with_the_level_of_their_stack(tmp_path: Path) -> None:
    signals = [disc(bright) for bright in (400, 500, 600)]
    write_stack(tmp_path, signals)
    read = list(read_mr_slices([tmp_path], "disc"))
    expected = stack_level([slice_level(np.rint(signal)).level for signal in signals])
    assert [one.z_mm for one in read] == [3.0, 6.0, 9.0]
    assert {one.level for one in read} == {expected}
    assert {one.phase_axis for one in read} == {1}
    np.testing.assert_array_equal(read[1].signal, np.rint(signals[1]))


def test_slices_without_anatomy_and_maps_are_passed_by(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).rayleigh(3, (SIDE, SIDE)).astype(np.float32)
    write_stack(tmp_path / "stack", [noise, disc(500), disc(520), disc(500)])
    write_stack(tmp_path / "adc", [disc(900)], ImageType=["DERIVED", "PRIMARY", "DIFFUSION", "ADC"])
    assert [one.name for one in read_mr_slices([tmp_path], "disc")] == ["2", "3", "4"]
    with pytest.raises(DatasetError, match=r"adc: no MR slices; check --root"):
        list(read_mr_slices([tmp_path / "adc"], "disc"))


def write_nifti(path: Path, volume: Float) -> None:
    head = bytearray(352)
    struct.pack_into("<i", head, 0, 348)
    struct.pack_into("<8h", head, 40, 3, *volume.shape, 1, 1, 1, 1)
    struct.pack_into("<h", head, 70, 4)
    struct.pack_into("<8f", head, 76, 1, 1.5, 1.5, 2, 1, 1, 1, 1)
    struct.pack_into("<3f", head, 108, 352, 2, 1)
    head[344:348] = b"n+1\0"
    path.write_bytes(gzip.compress(bytes(head) + volume.astype("<i2").tobytes(order="F")))


def test_nifti_volumes_are_read_in_their_own_values(tmp_path: Path) -> None:
    volume = np.random.default_rng(1).integers(0, 900, (4, 5, 6)).astype(np.float32)
    write_nifti(tmp_path / "a.nii.gz", volume)
    read, spacing_mm = read_nifti(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(read, 2 * volume + 1)
    assert spacing_mm == (1.5, 1.5, 2.0)
    (tmp_path / "b.nii.gz").write_bytes(b"no volume")
    with pytest.raises(DatasetError, match=r"b\.nii\.gz: cannot be unpacked"):
        read_nifti(tmp_path / "b.nii.gz")


def test_a_clean_slice_is_drawn_as_the_gate_draws_it(phantom: MrSubject, mr_recipe: Recipe) -> None:
    drawn = phantom.draw(Case(), mr_recipe, np.random.default_rng(1))
    assert isinstance(mr_recipe.render, MrStack)
    as_gate = mr_recipe.render.draw(phantom.clean.signal, phantom.clean.level)
    np.testing.assert_array_equal(drawn, np.minimum(as_gate, 1))


def test_one_slice_stands_for_its_degraded_stack(mr_recipe: Recipe) -> None:
    """The level a slice is drawn at is that of its stack, had all of it been degraded."""
    signals = [900 * mr_slice(np.random.default_rng((5, k)))[0] for k in range(7)]
    level = stack_level([slice_level(one).level for one in signals])
    for name, severity in (("rician_noise", 1.0), ("wrap", 1.0), ("over_smoothing", 1.0)):
        case = Case(((name, severity),))
        drawn, degraded = [], []
        for number, signal in enumerate(signals):
            subject = MrSubject(MrSlice(signal, level, 1.0, 0.0, 0, "seven", str(number)))
            worse, at = subject.degraded(case, mr_recipe, np.random.default_rng(number))
            drawn.append(at)
            degraded.append(slice_level(worse).level)
        assert np.median(drawn) == pytest.approx(stack_level(degraded), rel=0.11)


@pytest.mark.parametrize("number", range(6))
def test_an_appearance_is_the_same_for_the_clean_and_the_worse(
    number: int, phantom: MrSubject, mr_recipe: Recipe
) -> None:
    options = {"appearance": str(number)}
    first = phantom.draw(Case((), options), mr_recipe, np.random.default_rng(1))
    again = phantom.draw(Case((), options), mr_recipe, np.random.default_rng(2))
    worse = phantom.draw(
        Case((("rician_noise", 1e-4),), options), mr_recipe, np.random.default_rng(3)
    )
    np.testing.assert_array_equal(first, again)
    assert float(np.abs(worse - first).max()) < 0.07  # one step of the grid of levels at most


@pytest.mark.parametrize("named", NAMED)
def test_named_appearances_change_one_thing(
    named: str, phantom: MrSubject, mr_recipe: Recipe
) -> None:
    rng = np.random.default_rng(1)
    plain, at = phantom.degraded(Case(), mr_recipe, rng)
    varied, varied_at = phantom.degraded(Case((), {"appearance": named}), mr_recipe, rng)
    changed = {
        "scale": not 0.97 < varied_at / at < 1.03 and np.array_equal(plain, varied),
        "matrix": plain.shape != varied.shape,
        "contrast": plain.shape == varied.shape and not np.array_equal(plain, varied),
    }
    assert sum(changed.values()) == (named != "acquired"), changed


def test_turned_slices_keep_their_pixels() -> None:
    signal = disc(500)
    turned = Appearance(quarters=1, mirrored=True).acquired(signal, 500.0, np.random.default_rng(1))
    np.testing.assert_array_equal(np.sort(turned.ravel()), np.sort(signal.ravel()))


def test_zero_filling_keeps_the_picture_and_its_brightness() -> None:
    signal = degrade("over_smoothing", disc(500), 0.5, np.random.default_rng(1), spacing_mm=1.0)
    finer = resampled(signal, 2 * SIDE, 2 * SIDE)
    assert finer.shape == (2 * SIDE, 2 * SIDE)
    np.testing.assert_allclose(finer[::2, ::2], signal, atol=0.01)
    # the Nyquist line is on one side only, and a magnitude is taken in between
    np.testing.assert_allclose(resampled(finer, SIDE, SIDE), signal, atol=0.2)


def test_digital_slices_are_the_same_every_time_and_no_two_alike() -> None:
    first, spacing_mm = mr_slice(np.random.default_rng((20, 3)))
    again, _ = mr_slice(np.random.default_rng((20, 3)))
    other, _ = mr_slice(np.random.default_rng((20, 4)))
    np.testing.assert_array_equal(first, again)
    assert first.shape != other.shape or float(np.abs(first - other).max()) > 0.1
    assert first.min() >= 0
    assert 0.3 < spacing_mm < 2.5
    assert slice_level(first).votes


def test_held_out_blocks_lie_a_gap_from_what_is_trained_on(
    clinical_data: Path, mr_recipe: Recipe
) -> None:
    for name, held_out, trained in (
        ("prostatex-0207-t2-tra", 5, 10),
        ("prostatex-0207-dce", 4, 7),
        ("prostatex-0207-t2-sag", 19, 0),
    ):
        source = mr_recipe.source(name)
        out = [one.z_mm for one in subjects(source, mr_recipe, clinical_data, "held-out")]
        seen = [one.z_mm for one in subjects(source, mr_recipe, clinical_data, "train")]
        assert (len(out), len(seen)) == (held_out, trained)
        assert all(abs(a - b) > 20 for a in out for b in seen)
        assert all(
            one.clean.level == grid_level(one.clean.level)  # type: ignore[attr-defined]
            for one in subjects(source, mr_recipe, clinical_data)
        )
