"""RAD-IQMRI: 8 MR slices, each with ghosting and noise, scored by 13 radiologists, 0–100.

The images are given on request only (github.com/dayan0204/RAD-IQMRI; Ma et al., Neurocomputing
602, 2024) and no page describes their files. The layout read here is the one that MIQANet's public
`train.py` reads: `Train_Distort/` with `mri_train.txt`, `Val_Distort/` with `mri_val.txt`, a line
`file,score` (or `file score`) per image, here taken together, for MIQANet's folds go by reference
over all 112. Which reference an image was made from is read from `sources.csv` (`file, source`)
where there is one, else found by likeness.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

from trainer.datasets.likeness import sources_of
from trainer.datasets.pictures import check_file, read_picture
from trainer.datasets.scored import DatasetError, ScoredImage, ScoredImages, as_score

LOW, HIGH = 0.0, 100.0
PARTS = {
    "train": ("Train_Distort", "mri_train.txt"),
    "val": ("Val_Distort", "mri_val.txt"),
}


def load_rad_iqmri(folder: Path, part: str = "all") -> ScoredImages:
    """Its images: `train`, `val`, or `all` of both. Raises DatasetError naming file and line."""
    if part not in (*PARTS, "all"):
        raise DatasetError(f"RAD-IQMRI has no part {part!r}; it has {', '.join(PARTS)} and all")
    names, scores, paths = [], [], []
    for pictures, table_name in [PARTS[part]] if part != "all" else PARTS.values():
        table = folder / table_name
        try:
            lines = table.read_text("utf-8").splitlines()
        except OSError as error:
            raise DatasetError(
                f"{table}: cannot be read: {error.strerror}; it must hold lines `file,score`"
            ) from error
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            where = f"{table}, line {number}"
            words = re.split(r"[,\s]+", line.strip())
            if len(words) != 2:
                raise DatasetError(f"{where}: {line!r} is not `file,score`")
            names.append(words[0])
            scores.append(as_score(words[1], where))
            paths.append(check_file(folder / pictures / words[0], where))
    if not names:
        raise DatasetError(f"{folder}: {', '.join(name for _, name in PARTS.values())} are empty")
    sources = sources_of(folder, names, paths)
    images = tuple(
        ScoredImage(name, source, score, partial(read_picture, path))
        for name, source, score, path in zip(names, sources, scores, paths, strict=True)
    )
    return ScoredImages(images, LOW, HIGH)
