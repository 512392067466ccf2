"""A plain scored folder: `images/` beside `scores.csv`, so that anyone can bring their own.

`scores.csv` has a header with the columns `file` and `score`, and any others; one of them may
name what images share (patient, slice, scanner), to be given by name. An empty score is an image
without one. The same reading serves the tables of other datasets.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from trainer.datasets.pictures import check_file, read_picture
from trainer.datasets.scored import DatasetError, ScoredImage, ScoredImages, as_score

SCORES_NAME = "scores.csv"
IMAGES_NAME = "images"
LOW, HIGH = 0.0, 4.0
"""The scale taken where none is given: 0–4, as radiologists score in the published sets."""


def load_folder(
    folder: Path,
    group: str | None = None,
    scale: tuple[float, float] = (LOW, HIGH),
) -> ScoredImages:
    """The images of `scores.csv`. group: the column that names groups; without it every image is
    a group of its own.

    Raises DatasetError naming file and row: no table, a column missing, an image missing or
    listed twice, a score that is no number or off the scale.
    """
    table = folder / SCORES_NAME
    columns = ["file", "score", *([group] if group else [])]
    images = []
    for where, row in read_table(table, columns):
        name = row["file"]
        path = check_file(_inside(folder / IMAGES_NAME, name, where), where)
        images.append(
            ScoredImage(
                name=name,
                group=row[group] if group else name,
                score=as_score(row["score"], where) if row["score"] else None,
                read=partial(read_picture, path),
            )
        )
    return ScoredImages(tuple(images), *scale)


def read_table(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Rows of a CSV file as (where, column → text). Raises DatasetError naming what is missing."""
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise DatasetError(
            f"{path}: cannot be read: {error.strerror}; it must hold {', '.join(columns)}"
        ) from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path}: is not UTF-8; save it as UTF-8") from error
    reader = csv.DictReader(text.splitlines(), skipinitialspace=True)
    missing = [column for column in columns if column not in (reader.fieldnames or [])]
    if missing:
        raise DatasetError(
            f"{path}: column {missing[0]!r} is missing; its header has "
            f"{', '.join(reader.fieldnames or []) or 'nothing'}"
        )
    rows = 0
    for row in reader:
        rows += 1
        where = f"{path}, line {reader.line_num}"
        values = {column: (row[column] or "").strip() for column in columns}
        if not values[columns[0]]:
            raise DatasetError(f"{where}: {columns[0]!r} is empty")
        yield where, values
    if not rows:
        raise DatasetError(f"{path}: holds no rows below its header")


def _inside(folder: Path, name: str, where: str) -> Path:
    """A file below the folder; a table from elsewhere must not reach out of it."""
    path = folder / name
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise DatasetError(f"{where}: {name!r} is not a file below {folder}")
    return path
