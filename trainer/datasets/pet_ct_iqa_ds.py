"""PET-CT-IQA-DS: fused PET/CT pictures with radiologists' scores, 0–4 (MS-IQA paper).

Layout as published (github.com/MS-IQA/MS-IQA, no licence: measure with it, ship nothing made from
it): `PET-CT-IQA-DS/test/001.jpg` …, RGB 512×512, and `PET-CT-IQA-DS/label.txt`, lines
`001.jpg,3.8` without a header. Of the paper's 2,700 pictures only this part is public: 20 source
slices × 27 degradations.

The files do not say which pictures show the same slice, and a split that ignores it measures
memory. `sources.csv` (`file, source`) beside `label.txt` is read where there is one; else pictures
are grouped by likeness, for the same slice stays the same under noise and compression once it is
averaged down.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from trainer.datasets.likeness import sources_of
from trainer.datasets.pictures import check_file, read_picture
from trainer.datasets.scored import DatasetError, ScoredImage, ScoredImages, as_score

LOW, HIGH = 0.0, 4.0
TABLE_NAME = "label.txt"


def load_pet_ct_iqa_ds(folder: Path, part: str = "test") -> ScoredImages:
    """The public part. folder: `PET-CT-IQA-DS`, or the one that holds it.

    Raises DatasetError naming file and line.
    """
    home = folder / "PET-CT-IQA-DS" if (folder / "PET-CT-IQA-DS").is_dir() else folder
    if part != "test":
        raise DatasetError(f"PET-CT-IQA-DS publishes no part {part!r}; it has test")
    table = home / TABLE_NAME
    try:
        lines = table.read_text("utf-8").splitlines()
    except OSError as error:
        raise DatasetError(
            f"{table}: cannot be read: {error.strerror}; it must hold lines `001.jpg,3.8`"
        ) from error
    names, scores, paths = [], [], []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{table}, line {number}"
        name, comma, score = (text.strip() for text in line.partition(","))
        if not (name and comma):
            raise DatasetError(f"{where}: {line!r} is not `file,score`")
        names.append(name)
        scores.append(as_score(score, where))
        paths.append(check_file(home / part / name, where))
    if not names:
        raise DatasetError(f"{table}: holds no lines")
    sources = sources_of(home, names, paths)
    images = tuple(
        ScoredImage(name, source, score, partial(read_picture, path))
        for name, source, score, path in zip(names, sources, scores, paths, strict=True)
    )
    return ScoredImages(images, LOW, HIGH)
