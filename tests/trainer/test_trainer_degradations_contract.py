"""What every degradation promises, each by name."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from trainer.degradations import ARTEFACTS, degrade, names

SIDE = 96
SEVERITIES = (0.0, 0.25, 0.5, 0.75, 1.0)
AXIS = np.linspace(-1, 1, SIDE)
RADIUS = np.hypot(AXIS[:, None], AXIS[None])


def picture(modality: str) -> np.ndarray:
    """A disc with an insert off centre, in the modality's unit, and a little texture."""
    insert = np.hypot(AXIS[:, None] - 0.2, AXIS[None] + 0.3) < 0.15
    texture = np.random.default_rng(0).standard_normal((SIDE, SIDE))
    disc = RADIUS < 0.7
    if modality == "CT":
        image = np.where(disc, 40.0, -1000) + np.where(insert, 600, 0) + 10 * texture * disc
    else:
        image = np.where(disc, 100.0, 0) + np.where(insert, 80, 0) + 3 * texture * disc
    return image.astype(np.float32)


def geometry(name: str) -> dict[str, object]:
    """What the degradation needs: 2 mm pixels; a liver that reaches higher in PET than in CT."""
    tissue = np.where(RADIUS < 0.7, 40.0, -1000)
    fills = [np.where(reach > RADIUS, 40, -800) for reach in 0.06 * np.arange(12)]
    stack = np.stack([np.where(RADIUS < 0.7, fill, tissue) for fill in fills]).astype(np.float32)
    known = {"spacing_mm": 2.0, "ct_hu": stack, "index": 8, "slice_mm": 5.0}
    return {key: value for key, value in known.items() if key in ARTEFACTS[name].needs}


def degraded(name: str, severity: float, seed: int = 1) -> np.ndarray:
    image = picture(ARTEFACTS[name].modality)
    return degrade(name, image, severity, np.random.default_rng(seed), **geometry(name))


@pytest.fixture(params=names())
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_severity_zero_is_bit_identical(name: str, kind: type) -> None:
    image = picture(ARTEFACTS[name].modality).astype(kind) + kind(1) / 3
    rng = np.random.default_rng(1)
    same = degrade(name, image, 0, rng, **geometry(name))
    assert same.tobytes() == image.tobytes()
    assert same.dtype == kind
    assert same is not image
    assert rng.random() == np.random.default_rng(1).random()


def test_difference_rises_with_severity(name: str) -> None:
    clean = picture(ARTEFACTS[name].modality).astype(np.float64)
    squares = [float(np.mean((degraded(name, s) - clean) ** 2)) for s in SEVERITIES]
    assert all(low < high for low, high in pairwise(squares)), squares


def test_little_severity_does_little(name: str) -> None:
    clean = picture(ARTEFACTS[name].modality)
    little, much = (np.abs(degraded(name, s) - clean).mean() for s in (0.01, 1.0))
    # JPEG at its best quality still rounds.
    assert little < (0.4 if name == "jpeg" else 0.15) * much


def test_same_generator_same_picture(name: str) -> None:
    assert degraded(name, 0.6).tobytes() == degraded(name, 0.6).tobytes()


def test_shape_type_and_input_are_kept(name: str) -> None:
    image = picture(ARTEFACTS[name].modality).astype(np.float64)
    before = image.copy()
    worse = degrade(name, image, 0.7, np.random.default_rng(1), **geometry(name))
    assert (worse.shape, worse.dtype) == (image.shape, np.float64)
    assert np.isfinite(worse).all()
    assert (image == before).all()


def test_nothing_falls_below_zero_in_pet_and_mr(name: str) -> None:
    if ARTEFACTS[name].modality != "CT":
        assert degraded(name, 1.0).min() >= 0


def test_an_empty_picture_is_no_obstacle(name: str) -> None:
    low = -1000 if ARTEFACTS[name].modality == "CT" else 0
    empty = np.full((SIDE, SIDE), low, np.float32)
    worse = degrade(name, empty, 1.0, np.random.default_rng(1), **geometry(name))
    assert np.isfinite(worse).all()


@pytest.mark.parametrize("severity", [-0.1, 1.01, float("nan")])
def test_severity_outside_its_range_is_refused(name: str, severity: float) -> None:
    with pytest.raises(ValueError, match="severity"):
        degraded(name, severity)


def test_wrong_pictures_are_refused(name: str) -> None:
    clean, rng = picture(ARTEFACTS[name].modality), np.random.default_rng(1)
    for wrong in (clean[None], clean.astype(np.int16)):
        with pytest.raises(ValueError, match="takes a picture"):
            degrade(name, wrong, 0.5, rng, **geometry(name))
    clean[3, 3] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        degrade(name, clean, 0.5, rng, **geometry(name))


@pytest.mark.parametrize("name", [n for n, a in ARTEFACTS.items() if a.modality in ("PET", "MR")])
def test_negative_counts_and_magnitudes_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="from 0 up"):
        degrade(name, picture("MR") - 50, 0.5, np.random.default_rng(1), **geometry(name))


def test_physics_and_source_are_stated(name: str) -> None:
    physics = ARTEFACTS[name].physics
    assert len(physics.splitlines()) > 4
    assert "Source: " in " ".join(physics.split())


def test_every_degradation_is_in_the_documents(name: str) -> None:
    page = Path(__file__).parents[2] / "docs/degradations.md"
    assert f"`{name}`" in page.read_text("utf-8")


def test_names_suit_the_modality() -> None:
    assert names("PET") == (
        "count_reduction",
        "resolution_blur",
        "attenuation_mismatch",
        "jpeg",
        "jpeg2000",
        "gaussian_noise",
        "impulse_noise",
    )
    assert set(names()) == set(names("CT")) | set(names("PET")) | set(names("MR"))


def test_unknown_names_and_geometry_are_refused() -> None:
    rng = np.random.default_rng(1)
    with pytest.raises(ValueError, match="no degradation 'rust'; there are quantum_noise"):
        degrade("rust", picture("CT"), 0.5, rng)
    with pytest.raises(ValueError, match="ring_artefacts needs spacing_mm"):
        degrade("ring_artefacts", picture("CT"), 0.5, rng)
    with pytest.raises(ValueError, match="ghosting does not take coils; it takes ghosts, phase_ax"):
        degrade("ghosting", picture("MR"), 0.5, rng, coils=8)
