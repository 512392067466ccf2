"""Frozen dataclasses of `judge` as JSON text, for columns and for `assess --json`."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from pydantic import TypeAdapter

from service.judge.evidence import Assessment, SeriesFacts

_ASSESSMENT = TypeAdapter(Assessment)
_FACTS = TypeAdapter(SeriesFacts)


def dump(value: Any) -> str:
    return json.dumps(asdict(value), ensure_ascii=False, allow_nan=False)


def load_assessment(text: str) -> Assessment:
    return _ASSESSMENT.validate_json(text)


def load_facts(text: str) -> SeriesFacts:
    return _FACTS.validate_json(text)
