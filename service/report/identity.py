"""UIDs that follow from what they name, so that a report built twice is one report.

All are UUIDv5 under one namespace, written as "2.25." and the UUID as an integer
(PS3.5 B.2, ITU-T X.667).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal
from uuid import UUID, uuid5

NAMESPACE: Final = UUID("6f1c9a52-3a4e-5d0b-9c57-1d1b5f0c7a61")
"""Ours, fixed for ever: another value would rename every report ever sent."""

Kind = Literal["structured-report", "summary-image"]


def named_uid(*parts: str) -> str:
    """The UID that these parts name; parts are length-prefixed, so ("a", "bc") ≠ ("ab", "c")."""
    name = "".join(f"{len(part)}:{part};" for part in parts)
    return f"2.25.{uuid5(NAMESPACE, name).int}"


def report_uid(
    kind: Kind,
    study_instance_uid: str,
    scope_uid: str,
    bundle_digests: Iterable[str],
    policy_digest: str,
    outcome: str,
    images: Iterable[tuple[str, str]],
) -> str:
    """SOP Instance UID of a report.

    `scope_uid` is the study or the series it covers; `outcome` says in one canonical string what
    was found; `images` are (SOP Instance UID, digest) of every image used, companions included.
    The order of bundles and of images does not count.
    """
    bundles = sorted(set(bundle_digests))
    used = sorted(set(images))
    return named_uid(
        kind,
        study_instance_uid,
        scope_uid,
        str(len(bundles)),
        *bundles,
        policy_digest,
        outcome,
        *(part for image in used for part in image),
    )


def report_series_uid(study_instance_uid: str, kind: Kind) -> str:
    """Series Instance UID of all reports of one kind in one study."""
    return named_uid("series", kind, study_instance_uid)


def tracking_uid(series_instance_uid: str, stack: str | None = None) -> str:
    """Tracking Unique Identifier (PS3.16 TID 4108) of a series, or of one stack in it; the same
    in every report on it."""
    return named_uid("tracking", series_instance_uid, *([] if stack is None else [stack]))


def algorithm_device_uid(bundle_digest: str) -> str:
    """Device UID of a network: changes whenever it is retrained (IHE AIR)."""
    return named_uid("algorithm", bundle_digest)


IMPLEMENTATION_CLASS_UID: Final = named_uid("implementation")
