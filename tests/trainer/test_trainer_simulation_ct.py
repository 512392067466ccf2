"""CT cases: the window a slice is read in, the field of view and matrix it is drawn with."""

import numpy as np
import pytest
from pydicom.dataset import Dataset

from models.render import CtWindow
from trainer import phantom
from trainer.datasets import CleanSlice
from trainer.datasets.dicom import reading_of
from trainer.degradations import soft_tissue
from trainer.recipe import Recipe
from trainer.simulation import grid_cases, random_cases
from trainer.simulation.case import Case
from trainer.simulation.ct import CtSubject, framed


def square(hu: float = 40.0) -> np.ndarray:
    """A square of tissue in air, 64 × 64 pixels, off its middle."""
    image = np.full((64, 64), -1000.0, np.float32)
    image[20:40, 24:44] = hu
    return image


def subject(reading: str = "soft") -> CtSubject:
    return CtSubject(CleanSlice(square(), 2.0, 0.0, "a source", "1", reading=reading), 5e5)  # type: ignore[arg-type]


def test_frames_show_more_less_or_elsewhere() -> None:
    assert framed(square(), {}).tobytes() == square().tobytes()
    closer = framed(square(), {"field_of_view": "0.5"})
    assert closer.shape == (32, 32)
    assert np.array_equal(closer, square()[16:48, 16:48])
    wider = framed(square(), {"field_of_view": "1.5"})
    assert wider.shape == (96, 96)
    assert np.array_equal(wider[16:80, 16:80], square())
    assert wider[0, 0] == -1024
    moved = framed(square(), {"centre": "0.125,-0.25"})
    assert np.array_equal(moved[16:, :-8], square()[:-16, 8:])
    assert framed(square(), {"matrix": "32"}).shape == (32, 32)
    assert framed(square(), {"matrix": "32"})[12, 14] == 40


def test_a_slice_is_drawn_in_its_own_window_or_the_one_asked_for(recipe: Recipe) -> None:
    spec = recipe.render
    assert isinstance(spec, CtWindow)
    rng = np.random.default_rng(0)
    for own in ("soft", "lung", "bone"):
        drawn = subject(own).draw(Case((), {"reading": "own"}), recipe, rng)
        assert np.array_equal(drawn, spec.draw(square(), own))
        drawn = subject(own).draw(Case((), {"reading": "lung"}), recipe, rng)
        assert np.array_equal(drawn, spec.draw(square(), "lung"))


def test_drawings_of_one_case_show_the_same_noise(recipe: Recipe) -> None:
    one, rng = subject(), np.random.default_rng(0)
    parts = (("quantum_noise", 0.7),)
    first = one.draw(Case(parts, {"kernel": "soft"}), recipe, rng)
    again = one.draw(Case(parts, {"kernel": "soft", "matrix": "own"}), recipe, rng)
    assert np.array_equal(first, again)
    sharp = one.draw(Case(parts, {"kernel": "sharp"}), recipe, rng)
    assert not np.array_equal(first, sharp)
    other = one.draw(Case(parts, {"kernel": "soft"}), recipe, np.random.default_rng(1))
    assert not np.array_equal(first, other)


def test_cases_are_drawn_in_several_ways_or_plainly(recipe: Recipe) -> None:
    simulation = recipe.simulation
    cases = random_cases(recipe, np.random.default_rng(3))
    assert len(cases) == simulation.per_slice * simulation.drawings
    assert [case.parts for case in cases[:2]] == [(), ()]
    for first, second in zip(cases[::2], cases[1::2], strict=True):
        assert first.parts == second.parts
        assert first.options["kernel"] == second.options["kernel"]
    assert len({case.options["field_of_view"] for case in cases}) > 1
    plain = random_cases(recipe, np.random.default_rng(3), plain=True)
    assert len(plain) == simulation.per_slice
    assert all(case.options == simulation.plain_options for case in plain)
    assert all(case.options["reading"] == "own" for case in grid_cases(recipe))


@pytest.mark.parametrize(
    ("kernel", "center", "width", "expected"),
    [
        ("SOFT", 40, 400, "soft"),
        ("D", [-450, -450], [2000, 2000], "lung"),
        ("YA", [900, 900], [2500, 2500], "bone"),
        (["Br40d", "3"], 40, 400, "soft"),
        (None, None, None, "soft"),
    ],
)
def test_readings_come_from_the_header(
    kernel: object, center: object, width: object, expected: str
) -> None:
    ds = Dataset()
    for name, value in (
        ("ConvolutionKernel", kernel),
        ("WindowCenter", center),
        ("WindowWidth", width),
    ):
        if value is not None:
            setattr(ds, name, value)
    assert reading_of(ds) == expected


def test_digital_chests_have_the_noise_of_their_kernel() -> None:
    chests = list(phantom.training_slices("chest", 3, 5))
    assert [one.reading for one in chests] == ["soft", "soft", "lung"]
    for one, kernel in zip(chests, phantom.KERNELS, strict=True):
        low, high = phantom.TRAINING_NOISE_HU[kernel]
        noise = float(one.hu[soft_tissue(one.hu)].std())
        # tissue is uneven by some 8 HU itself
        assert low < noise < np.hypot(high, 15)
        assert one.incident_photons is not None
        assert one.incident_photons > 1e3
