"""PET/CT simulated: read from DICOM with its SUV, made worse on its own grid, fused, captured."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from trainer import targets
from trainer.datasets import DatasetError
from trainer.datasets.dicom_pet import Grid, on_grid, read_pet_ct_slices
from trainer.phantom_pet import training_slices
from trainer.recipe import Recipe, load_recipe
from trainer.simulation import simulate_subject, subjects
from trainer.simulation.case import Case, random_cases
from trainer.simulation.pet_ct import DISPLAYS, FIELDS, PetCtSubject

RECIPE = Path(__file__).parents[2] / "conf/recipes/petct-ms-iqa-compact.toml"
STUDY = "petct/ge_discoveryST_acrin042"


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return load_recipe(RECIPE)


@pytest.fixture(scope="module")
def subject() -> PetCtSubject:
    return PetCtSubject(next(training_slices("digital", 1, 5)), 5e5)


def drawn(subject: PetCtSubject, recipe: Recipe, *parts: tuple[str, float], **options: str):
    return subject.draw(Case(parts, options), recipe, np.random.default_rng(3))


def test_a_clean_picture_is_the_fused_slice_at_its_own_matrix(subject, recipe) -> None:
    clean = subject.clean
    expected = recipe.render.draw(clean.hu, on_grid(clean.suv, clean.pet, clean.ct, clean.hu.shape))
    assert drawn(subject, recipe).shape == (3, 512, 512)
    assert np.array_equal(drawn(subject, recipe), expected)


@pytest.mark.parametrize("name", ["quantum_noise", "over_smoothing"])
def test_what_spoils_ct_leaves_pet_alone(subject, recipe, name: str) -> None:
    """Uptake colours the picture: red less blue is PET's alone below the palette's last quarter."""
    change = drawn(subject, recipe, (name, 1.0)) - drawn(subject, recipe)
    assert np.abs(change).max() > 0.1
    assert np.abs(change[0] - change[2]).max() < 1e-5


@pytest.mark.parametrize("name", ["count_reduction", "resolution_blur", "attenuation_mismatch"])
def test_what_spoils_pet_leaves_ct_alone(subject, recipe, name: str) -> None:
    change = drawn(subject, recipe, (name, 1.0)) - drawn(subject, recipe)
    assert np.abs(change[0]).max() > 0.05
    cold = on_grid(subject.clean.suv, subject.clean.pet, subject.clean.ct, (512, 512)) < 1e-3
    air = cold & (subject.clean.hu < -950)
    assert np.abs(change[:, air]).mean() < 0.01


@pytest.mark.parametrize("name", ["impulse_noise", "gaussian_noise", "colour_jpeg"])
def test_captures_are_spoiled_after_fusion(subject, recipe, name: str) -> None:
    change = drawn(subject, recipe, (name, 0.5)) - drawn(subject, recipe)
    assert np.abs(change).max() > 0.1
    assert not np.array_equal(change[0], change[1])


def test_what_is_for_neither_is_refused(subject, recipe) -> None:
    with pytest.raises(ValueError, match="ghosting is for MR, not for PET/CT"):
        drawn(subject, recipe, ("ghosting", 0.5))
    with pytest.raises(ValueError, match="take colour_jpeg"):
        drawn(subject, recipe, ("jpeg", 0.5))


def test_displays_and_fields_change_the_picture_and_not_its_scale(subject, recipe) -> None:
    plain = drawn(subject, recipe)
    for options in [{"display": one} for one in DISPLAYS] + [{"field": one} for one in FIELDS]:
        other = drawn(subject, recipe, **options)
        assert other.min() >= 0
        assert other.max() <= 1
        same = options in ({"display": "standard"}, {"field": "native"})
        assert np.array_equal(other, plain) == same


def test_a_wider_field_shows_the_patient_smaller(subject, recipe) -> None:
    body = [
        (drawn(subject, recipe, field=one)[0] > 0.1).mean() for one in ("tight", "native", "wide")
    ]
    assert body[0] > body[1] > body[2]
    assert body[2] / body[1] == pytest.approx(FIELDS["wide"] ** -2, rel=0.1)


def test_a_stored_capture_is_judged_against_a_stored_one(subject, recipe) -> None:
    made = simulate_subject(subject, [Case((), {"stored": "jpeg"})], recipe)
    assert made[0][1].target == pytest.approx(4.0)


def test_few_specks_count_by_their_size_and_many_by_their_number() -> None:
    clean = np.full((3, 512, 512), 0.5, np.float32)
    specked = clean.copy()
    specked[:, ::24, ::24] = 1.0  # one pixel in 576
    names = ("largest-errors", "common-errors", "haarpsi-coarse")
    few = targets.measure(specked, clean, names)
    assert few["largest-errors"] == pytest.approx(0.5)
    assert few["common-errors"] == 0
    assert 0.9 < few["haarpsi-coarse"] < 1
    specked[0, ::8, ::8] = 1.0  # one in 64, red alone
    assert targets.measure(specked, clean, names)["common-errors"] == pytest.approx(0.5)


def test_cases_hold_up_to_three_degradations_in_the_recipes_order(recipe) -> None:
    names = [one.name for one in recipe.degradations]
    rng = np.random.default_rng(0)
    cases = [case for _ in range(40) for case in random_cases(recipe, rng)]
    counts = {len(case.parts) for case in cases}
    assert counts == {0, 1, 2, 3}
    for case in cases:
        order = [names.index(name) for name, _ in case.parts]
        assert order == sorted(order)


def test_digital_chests_are_no_two_alike_and_repeat() -> None:
    first, second = islice(training_slices("digital", 2, 5), 2)
    again = next(training_slices("digital", 2, 5))
    assert np.array_equal(first.suv, again.suv)
    assert not np.array_equal(first.suv, second.suv)
    assert first.suv.min() >= 0
    assert 0.5 < np.percentile(first.suv, 99) < 15


def test_resampling_keeps_places() -> None:
    """A bright pixel of a coarse grid lies where its millimetres say on a fine one."""
    coarse = np.zeros((32, 32), np.float32)
    coarse[10, 20] = 1
    fine = on_grid(coarse, Grid(4.0, -62.0, -62.0), Grid(1.0, -63.5, -63.5), (128, 128))
    row, column = np.unravel_index(int(fine.argmax()), fine.shape)
    assert -63.5 + column == pytest.approx(-62 + 20 * 4, abs=0.5)
    assert -63.5 + row == pytest.approx(-62 + 10 * 4, abs=0.5)


def test_a_real_study_is_read_as_suv_on_one_place(clinical_data) -> None:
    """Mean uptake of a whole body is 1 g/mL by definition; air has none."""
    slices = list(islice(read_pet_ct_slices(clinical_data / STUDY, "acrin"), 40, None, 30))
    assert len(slices) == 4
    for one in slices:
        assert one.hu.shape == (512, 512)
        assert one.suv.shape == (128, 128)
        pet = on_grid(one.suv, one.pet, one.ct, one.hu.shape)
        body = one.hu > -200
        assert 0.3 < pet[body].mean() < 3
        assert pet[:40].mean() < 0.1
        assert one.attenuation is not None
        assert (
            np.corrcoef(
                one.attenuation.hu[one.index].ravel(),
                on_grid(one.hu, one.ct, one.pet, one.suv.shape, outside=-1000.0).ravel(),
            )[0, 1]
            > 0.97
        )


def test_blocks_held_out_are_not_trained_on(clinical_data, recipe) -> None:
    source = recipe.sources[0]
    (low, high) = source.held_out_mm[0]
    held = [one.z_mm for one in subjects(source, recipe, clinical_data, "held-out")]
    trained = [one.z_mm for one in subjects(source, recipe, clinical_data, "train")]
    assert len(held) > 25
    assert all(low <= z <= high for z in held)
    assert all(z < low - 20 or z > high + 20 for z in trained)


def test_a_folder_without_corrected_pet_says_so(clinical_data) -> None:
    with pytest.raises(DatasetError, match="0 CT and 0 attenuation-corrected"):
        next(read_pet_ct_slices(clinical_data / STUDY / "pt_nac", "acrin"))
