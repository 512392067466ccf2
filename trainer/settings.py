"""Settings of a training: on what it runs, how long, with what step, on which views.

Tables of a recipe. Every key is checked: an unknown one, or a value out of range, is an error that
names it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Probability = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]
Precision = Literal["32", "32-true", "bf16-mixed", "16-mixed"]


class Table(BaseModel):
    """A table of a recipe: frozen, and no keys beyond those it has."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Hardware(Table):
    """What a training runs on, in Lightning Fabric's words.

    accelerator: `cpu`, `cuda`, `auto`; devices: how many a node, `auto` for all; strategy: how
    several devices share the work (`ddp`), `auto` for Fabric's own choice; precision: `32-true`,
    `bf16-mixed` or `16-mixed`; threads: of torch on the CPU; workers: processes that load pictures,
    0 for none; keep_in_memory: load and resample every picture once only.
    """

    accelerator: str = "auto"
    devices: int | str = 1
    num_nodes: Positive = 1
    strategy: str = "auto"
    precision: Precision = "32-true"
    threads: Positive = 2
    workers: Annotated[int, Field(ge=0)] = 0
    keep_in_memory: bool = False


class Views(Table):
    """How a picture becomes what the network sees, `[C, side, side]`; side 0 is the network's own.

    fit: `resize` stretches the whole picture to the side; `crop` cuts a square of the side out of
    it (a picture that is smaller is enlarged first). crops: views an evaluated picture is scored
    by, the mean of which counts: 1 (centre) or 5 (centre and corners); `resize` has one.
    mirror, flip: probabilities of a mirrored and an upside-down picture in training; turn: of a
    quarter, half or three-quarter turn, so that 0.75 makes all four orientations even.
    """

    side: Annotated[int, Field(ge=0)] = 0
    fit: Literal["resize", "crop"] = "resize"
    crops: Literal[1, 5] = 1
    mirror: Probability = 0.0
    flip: Probability = 0.0
    turn: Probability = 0.0


class Training(Table):
    """One training, from a network as built or as handed on to a trained one.

    learning_rate: of Adam, at its highest; schedule: `constant`, `cosine` (half a cosine down to
    zero over all steps) or `one-cycle`; accumulate: batches whose gradients make one step;
    clip_norm: largest norm of a step's gradients; patience: epochs without a better validation
    before stopping, 0 for never; keep: the weights handed on, of the `last` epoch or of the `best`
    by validation (highest SROCC).
    """

    seed: int
    epochs: Positive
    batch_size: Positive
    learning_rate: Annotated[float, Field(gt=0)]
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    schedule: Literal["constant", "cosine", "one-cycle"] = "constant"
    accumulate: Positive = 1
    clip_norm: Annotated[float, Field(gt=0)] | None = None
    patience: Annotated[int, Field(ge=0)] = 0
    keep: Literal["last", "best"] = "last"


class Weights(Table):
    """Where backbones start from: `folder`, a file or a folder of files, empty for from scratch.

    hub: weights that are missing there may be fetched from timm's hub, and are kept there.
    """

    folder: str = ""
    hub: bool = False
