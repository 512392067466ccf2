"""KADID-10k: 81 photographs, each damaged in 25 ways at 5 levels, rated by the crowd.

Layout as published (database.mmsp-kn.de, Lin, Hosu, Saupe, QoMEX 2019): `kadid10k/dmos.csv` with
the header `dist_img,ref_img,dmos,var`, and `kadid10k/images/` with `I01_01_01.png` (reference,
kind, level) beside the references `I01.png`. The column named dmos is a mean opinion score: 1 very
annoying … 5 imperceptible. TFKT's first phase learns it.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

from trainer.datasets.folder import read_table
from trainer.datasets.pictures import check_file, read_picture
from trainer.datasets.scored import DatasetError, ScoredImage, ScoredImages, as_score

LOW, HIGH = 1.0, 5.0
TABLE_NAME = "dmos.csv"
DAMAGED = re.compile(r"(I\d{2})_(\d{2})_(\d{2})\.png")


def load_kadid10k(folder: Path) -> ScoredImages:
    """The damaged pictures, grouped by reference. folder: `kadid10k`, or the one that holds it.

    Raises DatasetError naming file and line.
    """
    home = folder / "kadid10k" if (folder / "kadid10k").is_dir() else folder
    images = []
    for where, row in read_table(home / TABLE_NAME, ["dist_img", "ref_img", "dmos", "var"]):
        name, reference = row["dist_img"], row["ref_img"]
        named = DAMAGED.fullmatch(name)
        if named is None or f"{named[1]}.png" != reference:
            raise DatasetError(
                f"{where}: {name!r} of {reference!r}; names must be as I01_01_01.png of I01.png"
            )
        path = check_file(home / "images" / name, where)
        score = as_score(row["dmos"], where)
        images.append(ScoredImage(name, reference, score, partial(read_picture, path)))
    return ScoredImages(tuple(images), LOW, HIGH)
