"""UIDs follow from what they name, and from nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from pydicom.uid import UID

from service.report.identity import (
    algorithm_device_uid,
    named_uid,
    report_series_uid,
    report_uid,
    tracking_uid,
)

PINNED = "2.25.145794997274935709572732645301880301906"
ARGUMENTS: dict[str, Any] = {
    "kind": "structured-report",
    "study_instance_uid": "1.2.3",
    "scope_uid": "1.2.3.4",
    "bundle_digests": ["aa", "bb"],
    "policy_digest": "cc",
    "outcome": "meets 3.2",
    "images": [("1.2.3.4.1", "d1"), ("1.2.3.4.2", "d2")],
}


def test_the_uid_never_changes() -> None:
    """Pinned: another value would rename every report ever sent."""
    assert report_uid(**ARGUMENTS) == PINNED
    assert UID(PINNED).is_valid


def test_order_does_not_count() -> None:
    turned = {**ARGUMENTS, "images": ARGUMENTS["images"][::-1], "bundle_digests": ["bb", "aa"]}
    assert report_uid(**turned) == report_uid(**ARGUMENTS)


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "summary-image"},
        {"study_instance_uid": "1.2.4"},
        {"scope_uid": "1.2.3.5"},
        {"bundle_digests": ["aa"]},
        {"policy_digest": "cd"},
        {"outcome": "meets 3.3"},
        {"images": [("1.2.3.4.1", "d1")]},
        {"images": [("1.2.3.4.1", "d1"), ("1.2.3.4.2", "d3")]},
    ],
)
def test_every_part_counts(change: dict[str, object]) -> None:
    assert report_uid(**{**ARGUMENTS, **change}) != report_uid(**ARGUMENTS)


def test_parts_do_not_run_together() -> None:
    assert named_uid("a", "bc") != named_uid("ab", "c")


def test_series_tracking_and_algorithm_uids_are_stable_and_apart() -> None:
    made = [
        report_series_uid("1.2.3", "structured-report"),
        report_series_uid("1.2.3", "summary-image"),
        tracking_uid("1.2.3"),
        tracking_uid("1.2.3", ""),
        tracking_uid("1.2.3", "b 50"),
        algorithm_device_uid("aa"),
    ]
    assert len(set(made)) == len(made)
    assert all(UID(uid).is_valid for uid in made)
    assert tracking_uid("1.2.3", "b 50") == made[4]
