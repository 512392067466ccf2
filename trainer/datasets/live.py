"""LIVE image quality database, release 2: 29 photographs, five kinds of damage.

Layout as published (live.ece.utexas.edu/research/quality; Sheikh, Sabir, Bovik, IEEE TIP 15,
2006): `databaserelease2/` with the folders `jp2k`, `jpeg`, `wn`, `gblur` and `fastfading`, each
holding `img1.bmp` … `imgN.bmp` and an `info.txt` of lines `reference.bmp img1.bmp parameter`;
`refimgs/`; and MATLAB files over all pictures in that order of folders: `dmos.mat` (`dmos`, `orgs`:
1 where a picture is an undamaged copy), `dmos_realigned.mat` (`dmos_new`, `orgs`), the better
scores where present, and `refnames_all.mat` (`refnames_all`).

The score is the published DMOS: 0 none … about 112 most damage, so lower is better. The undamaged
copies (score 0 by definition) are left out, as is customary.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

from trainer.datasets.pictures import read_picture
from trainer.datasets.scored import DatasetError, ScoredImage, ScoredImages

LOW, HIGH = 0.0, 120.0
FOLDERS = ("jp2k", "jpeg", "wn", "gblur", "fastfading")
"""In the order in which the MATLAB files count."""


def load_live(folder: Path) -> ScoredImages:
    """The damaged pictures, grouped by reference. folder: `databaserelease2`, or its parent.

    Raises DatasetError naming the file.
    """
    home = folder / "databaserelease2" if (folder / "databaserelease2").is_dir() else folder
    paths = [path for name in FOLDERS for path in _numbered(home / name)]
    realigned = home / "dmos_realigned.mat"
    table, key = (realigned, "dmos_new") if realigned.is_file() else (home / "dmos.mat", "dmos")
    scores, copies = _column(table, key), _column(table, "orgs")
    references = _references(home, paths)
    for values, name in ((scores, key), (copies, "orgs"), (references, "reference names")):
        if len(values) != len(paths):
            raise DatasetError(
                f"{table}: {len(values)} values of {name} for the {len(paths)} pictures in "
                f"{', '.join(FOLDERS)}; unpack the whole release"
            )
    images = tuple(
        ScoredImage(
            f"{path.parent.name}/{path.name}", reference, float(score), partial(read_picture, path)
        )
        for path, reference, score, copy in zip(paths, references, scores, copies, strict=True)
        if not copy
    )
    return ScoredImages(images, LOW, HIGH, higher_is_better=False)


def _numbered(folder: Path) -> list[Path]:
    """img1.bmp … imgN.bmp in order. Raises DatasetError for a gap or an empty folder."""
    found = {
        int(named[1]): path
        for path in folder.glob("img*.bmp")
        if (named := re.fullmatch(r"img(\d+)\.bmp", path.name))
    }
    if not found:
        raise DatasetError(f"{folder}: no img1.bmp …; unpack the release there")
    for number in range(1, max(found) + 1):
        if number not in found:
            raise DatasetError(f"{folder / f'img{number}.bmp'}: is missing; fetch it")
    return [found[number] for number in sorted(found)]


def _column(table: Path, key: str) -> list[Any]:
    """A row vector of a MATLAB file. Raises DatasetError naming what is missing."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        values = loadmat(table, squeeze_me=True, variable_names=[key])[key]
    except KeyError as error:
        raise DatasetError(f"{table}: holds no variable {key!r}") from error
    except (OSError, ValueError, MatReadError) as error:
        raise DatasetError(f"{table}: cannot be read as a MATLAB file: {error}") from error
    return list(values.ravel())


def _references(home: Path, paths: list[Path]) -> list[str]:
    """The reference of each picture, from `refnames_all.mat`, else from the `info.txt` files."""
    table = home / "refnames_all.mat"
    if table.is_file():
        return [str(name) for name in _column(table, "refnames_all")]
    known = {}
    for name in FOLDERS:
        info = home / name / "info.txt"
        try:
            lines = info.read_text("utf-8").splitlines()
        except OSError as error:
            raise DatasetError(
                f"{info}: cannot be read: {error.strerror}; without {table.name} it names the "
                "references"
            ) from error
        for line in lines:
            if len(words := line.split()) >= 2:
                known[home / name / words[1]] = words[0]
    for path in paths:
        if path not in known:
            raise DatasetError(f"{path.parent / 'info.txt'}: has no line for {path.name}")
    return [known[path] for path in paths]
