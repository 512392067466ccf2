"""The description: what a recipe says for the card of a bundle made from one of its runs."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from trainer.settings import Table


class Scale(Table):
    """The two ends of the score, and what they mean."""

    worst: float
    best: float
    meaning: Annotated[str, Field(min_length=1)]


class Description(Table):
    """A recipe's table [bundle].

    render: how the gate draws a slice, as a card's table of that name; rows and columns are the
    network's side where they are left out. limitations: sentences that travel with every score.
    """

    name: Annotated[str, Field(min_length=1)]
    version: Annotated[str, Field(min_length=1)]
    modality: Annotated[str, Field(min_length=1)]
    render: dict[str, Any]
    scale: Scale
    limitations: Annotated[tuple[str, ...], Field(min_length=1)]
