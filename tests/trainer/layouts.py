"""Writers of tiny datasets in the layouts in which the real ones are published.

Each fills an empty folder with `sources` scenes at a few levels of damage each, and returns the
scores it wrote, by the names under which the loader lists the images. Scenes differ in their large
shapes, damage only in the fine ones, as in the real sets.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.io import savemat

from tests.factories import ct_slice
from trainer.datasets.live import FOLDERS

SIDE = 48
LEVELS = 4
Scene = npt.NDArray[np.float32]


def scene(source: int, damage: float, channels: int | None, seed: int = 0) -> Scene:
    """A scene `[SIDE, SIDE(, channels)]`, 0…1: blobs of its own under noise as strong as damage."""
    own = np.random.default_rng((source, 7))
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    picture = np.zeros((SIDE, SIDE), np.float32)
    for _ in range(5):
        row, column, radius = [*own.uniform(0.1, 0.9, 2).tolist(), own.uniform(0.08, 0.2)]
        picture += np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * radius**2))
    picture *= 0.8 / picture.max()
    shape = picture.shape if channels is None else (*picture.shape, channels)
    if channels is not None:
        picture = np.repeat(picture[..., None], channels, axis=2)
    noise = np.random.default_rng((source, seed, 11)).normal(0, 0.3 * damage, shape)
    return np.clip(picture + noise, 0, 1).astype(np.float32)


def write_folder(folder: Path, sources: int = 3, column: str = "patient") -> dict[str, float]:
    """`images/` beside `scores.csv` with `file, score` and a column of groups."""
    (folder / "images").mkdir(parents=True)
    scores, rows = {}, [f"file,{column},score"]
    for source in range(sources):
        for level in range(LEVELS):
            name, score = f"p{source}_{level}.png", _score(level, 0, 4)
            _save(folder / "images" / name, scene(source, level / LEVELS, None, level))
            rows.append(f"{name},p{source},{score}")
            scores[name] = score
    (folder / "scores.csv").write_text("\n".join(rows) + "\n", "utf-8")
    return scores


def write_ldctiqac2023(
    folder: Path, sources: int = 3, hounsfield: bool = False, part: str = "train"
) -> dict[str, float]:
    """float32 TIFF and JSON; part `test` has its other names, and no table."""
    home, pictures, end = {
        "train": (folder / "LDCTIQAG2023_train", "image", "tif"),
        "test": (folder / "LDCTIQAC_test", "images", "tiff"),
    }[part]
    (home / pictures).mkdir(parents=True)
    scores = {}
    for number in range(sources * LEVELS):
        source, level = divmod(number, LEVELS)
        values = scene(source, level / LEVELS, None, level)
        values = values * 1400 - 1000 if hounsfield else values
        Image.fromarray(values).save(home / pictures / f"{number:04d}.{end}")
        scores[f"{number:04d}.{end}"] = _score(level, 0, 4)
    if part == "train":
        (home / "train.json").write_text(json.dumps(scores), "utf-8")
    return scores


def write_pet_ct_iqa_ds(folder: Path, sources: int = 3) -> dict[str, float]:
    """RGB JPEG and `label.txt` without a header; sources in mixed order, and not named."""
    (folder / "PET-CT-IQA-DS/test").mkdir(parents=True)
    scores, lines = {}, []
    for number in range(sources * LEVELS):
        level, source = divmod(number, sources)
        name, score = f"{number + 1:03d}.jpg", _score(level, 0, 4)
        _save(folder / "PET-CT-IQA-DS/test" / name, scene(source, level / LEVELS / 3, 3, level))
        lines.append(f"{name},{score}")
        scores[name] = score
    (folder / "PET-CT-IQA-DS/label.txt").write_text("\n".join(lines) + "\n", "utf-8")
    return scores


def write_rad_iqmri(folder: Path, sources: int = 3) -> dict[str, float]:
    """Two parts, each a folder of distorted slices and a table; sources are not named."""
    scores: dict[str, float] = {}
    lines: dict[str, list[str]] = {"train": [], "val": []}
    for pictures in ("Train_Distort", "Val_Distort"):
        (folder / pictures).mkdir(parents=True)
    for source in range(sources):
        part = "val" if source == sources - 1 else "train"
        for level in range(LEVELS):
            name, score = f"mr{source}{level}.png", _score(level, 0, 100)
            picture = scene(source, level / LEVELS / 3, None, level)
            _save(folder / f"{part.title()}_Distort" / name, picture)
            lines[part].append(f"{name},{score}")
            scores[name] = score
    for part, written in lines.items():
        (folder / f"mri_{part}.txt").write_text("\n".join(written) + "\n", "utf-8")
    return scores


def write_kadid10k(folder: Path, sources: int = 3) -> dict[str, float]:
    """`dmos.csv` and `images/`, references beside the damaged ones; the score is a MOS, 1…5."""
    images = folder / "kadid10k/images"
    images.mkdir(parents=True)
    scores, rows = {}, ["dist_img,ref_img,dmos,var"]
    for source in range(sources):
        reference = f"I{source + 1:02d}.png"
        _save(images / reference, scene(source, 0, 3))
        for level in range(LEVELS):
            name, score = f"I{source + 1:02d}_01_{level + 1:02d}.png", _score(level, 1, 5)
            _save(images / name, scene(source, (level + 1) / LEVELS, 3, level))
            rows.append(f"{name},{reference},{score},0.5")
            scores[name] = score
    (folder / "kadid10k/dmos.csv").write_text("\n".join(rows) + "\n", "utf-8")
    return scores


def write_live(folder: Path, sources: int = 3, realigned: bool = True) -> dict[str, float]:
    """Five folders of BMP with their `info.txt`, and the MATLAB files; DMOS, lower is better.

    The last picture of each folder is an undamaged copy, which the loader leaves out.
    """
    home = folder / "databaserelease2"
    (home / "refimgs").mkdir(parents=True)
    for source in range(sources):
        _save(home / "refimgs" / f"ref{source}.bmp", scene(source, 0, 3))
    scores, dmos, copies, references = {}, [], [], []
    for kind in FOLDERS:
        (home / kind).mkdir()
        lines = []
        for number in range(1, sources + 2):
            source, copy = (number - 1) % sources, number == sources + 1
            damage = 0.0 if copy else number / (sources + 1)
            _save(home / kind / f"img{number}.bmp", scene(source, damage, 3, number))
            lines.append(f"ref{source}.bmp img{number}.bmp {damage}")
            dmos.append(100 * damage)
            copies.append(int(copy))
            references.append(f"ref{source}.bmp")
            if not copy:
                scores[f"{kind}/img{number}.bmp"] = 100 * damage
        (home / kind / "info.txt").write_text("\n".join(lines) + "\n", "utf-8")
    savemat(home / "dmos.mat", {"dmos": [dmos], "orgs": [copies]})
    if realigned:
        savemat(home / "dmos_realigned.mat", {"dmos_new": [dmos], "orgs": [copies]})
        names = np.array([references], object)
        savemat(home / "refnames_all.mat", {"refnames_all": names})
    return scores


def write_dicom(folder: Path, sources: int = 2) -> dict[str, float]:
    """CT slices of several patients in folders of their own, and `scores.csv` for all but one."""
    scores, rows = {}, ["file,score"]
    for source in range(sources):
        (folder / f"patient{source}").mkdir(parents=True)
        for level in range(LEVELS):
            hu = scene(source, level / LEVELS, None, level) * 400 - 160
            stored = (hu + 1024).round().astype(np.int16)
            name = f"patient{source}/{level}.dcm"
            ds = ct_slice(level + 1, pixels=stored, PatientID=f"P{source}")
            ds.save_as(folder / name, enforce_file_format=True)
            if level:
                scores[name] = _score(level, 0, 4)
                rows.append(f"{name},{scores[name]}")
    (folder / "scores.csv").write_text("\n".join(rows) + "\n", "utf-8")
    return scores


WRITERS = {
    "folder": write_folder,
    "kadid10k": write_kadid10k,
    "ldctiqac2023": write_ldctiqac2023,
    "live": write_live,
    "pet-ct-iqa-ds": write_pet_ct_iqa_ds,
    "rad-iqmri": write_rad_iqmri,
}
"""Those that need nothing but a folder, by the name under which `trainer.datasets` knows them."""


def _score(level: int, low: float, high: float) -> float:
    return high - (high - low) * level / LEVELS


def _save(path: Path, picture: Scene) -> None:
    Image.fromarray((picture * 255).round().astype(np.uint8)).save(path)
