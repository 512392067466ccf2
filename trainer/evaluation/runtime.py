"""A bundle's scores by ONNX Runtime, as the service computes them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from models.card import Bundle
from models.render import Float, resize
from trainer.datasets import DatasetError, ScoredImages

Scores = npt.NDArray[np.float32]

BATCH = 16
LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)
"""ITU-R BT.601, for a colour picture given to a network that reads grey."""


def session(model: Path, threads: int = 2) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session on the CPU."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def bundle_scores(
    bundle: Bundle, pictures: npt.NDArray[Any] | ScoredImages, threads: int = 2
) -> Scores:
    """Scores `[n]` of pictures `[n, C, H, W]`, or of a dataset's images, fitted to its input.

    Raises DatasetError naming an image that cannot be read, or cannot be the network's input.
    """
    return bundle_outputs(bundle, pictures, ["score"], threads)["score"]


def bundle_outputs(
    bundle: Bundle,
    pictures: npt.NDArray[Any] | ScoredImages,
    names: Sequence[str],
    threads: int = 2,
) -> dict[str, Scores]:
    """As `bundle_scores`, the outputs of these names."""
    running = session(bundle.model_path, threads)
    read = running.get_inputs()[0].name
    parts = [running.run(list(names), {read: batch}) for batch in _batches(pictures, bundle)]
    return {
        name: np.concatenate(found).astype(np.float32)
        for name, found in zip(names, zip(*parts, strict=True), strict=True)
    }


def fit_input(picture: Float, shape: tuple[int, int, int], name: str = "picture") -> Float:
    """A picture `[C, H, W]`, 0…1, as a network's input of another shape.

    Scaled to fit with its aspect kept and centred on black, as `models.render` does; grey repeated
    for a network that reads colour, colour weighed for one that reads grey. The grey scale is
    left as it is: a CT picture must come in the window that the bundle's card names. Raises
    DatasetError for other numbers of channels.
    """
    channels, rows, columns = shape
    if picture.shape == shape:
        return picture
    if channels == 1 and picture.shape[0] == 3:
        picture = np.tensordot(LUMINANCE, picture, axes=1)[None]
    elif channels == 3 and picture.shape[0] == 1:
        picture = np.repeat(picture, 3, axis=0)
    elif channels != picture.shape[0]:
        raise DatasetError(
            f"{name}: {picture.shape[0]} channels for a network that reads {channels}"
        )
    height, width = picture.shape[1:]
    scale = min(rows / height, columns / width)
    drawn_rows, drawn_columns = max(1, round(height * scale)), max(1, round(width * scale))
    canvas = np.zeros(shape, np.float32)
    top, left = (rows - drawn_rows) // 2, (columns - drawn_columns) // 2
    for number, channel in enumerate(picture):
        drawn = resize(channel, drawn_rows, drawn_columns)
        canvas[number, top : top + drawn_rows, left : left + drawn_columns] = drawn
    return canvas


def milliseconds_per_slice(bundle: Bundle, batch: int, threads: int, repeats: int = 20) -> float:
    """Median time of a slice in ms, in batches of `batch`, input already drawn."""
    running = session(bundle.model_path, threads)
    name = running.get_inputs()[0].name
    pictures = np.zeros((batch, *bundle.card.input_shape), np.float32)
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        running.run(None, {name: pictures})
        times.append(time.perf_counter() - start)
    return float(np.median(times)) * 1000 / batch


def _batches(pictures: npt.NDArray[Any] | ScoredImages, bundle: Bundle) -> Iterator[Float]:
    for start in range(0, len(pictures), BATCH):
        if isinstance(pictures, ScoredImages):
            chosen = pictures.images[start : start + BATCH]
            shape = bundle.card.input_shape
            yield np.stack([fit_input(image.load(), shape, image.name) for image in chosen])
        else:
            yield np.asarray(pictures[start : start + BATCH], np.float32)
