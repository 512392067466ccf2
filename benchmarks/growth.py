"""Growth: the gate's rate and memory with 10², 10⁴ and 10⁶ instances in its database.

    python benchmarks/growth.py [--instances 100 10000 1000000] [--images 300] [--rounds 5]
                                [--json FILE]

Closed, scored and reported series of 250 slices, four a study, are written into the ledger of each
gate before it starts (rows alone: no stored object is read again). Then every gate in turn, round
by round, is sent a series of CT slices as a burst on one association. Acknowledged: images a second
as the sender sees them. Scored: images over the time from the first byte to the last score. Ratios
are to the smallest ledger's, round by round, and their medians.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from paced_sender import bodies, phantom, send
from sqlalchemy import insert
from whole_gate import WholeGate, whole_gate

from service.judge.evidence import Assessment, SeriesFacts, Verdict
from service.ledger import json_text
from service.ledger.database import Database
from service.ledger.tables import (
    AssessmentRow,
    FrameRow,
    FrameState,
    FrameWork,
    ObjectRow,
    ObjectState,
    SeriesRow,
    SeriesState,
    StudyRow,
)

SLICES = 250
SERIES_A_STUDY = 4
EPOCH = 1.7e9
"""When the first of them arrived, in seconds since 1970; a slice a second from then on."""
UID_ROOT = "1.2.826.0.1.3680043.10.1"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--instances", type=int, nargs="+", default=[100, 10_000, 1_000_000])
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        sample = phantom(Path(name))
    rates: dict[int, list[tuple[float, float]]] = {}
    with ExitStack() as stack:
        gates = {}
        for instances in arguments.instances:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            fill(folder / "data" / "iqgate.db", instances)
            gates[instances] = stack.enter_context(whole_gate(folder))
        for number in range(arguments.rounds):
            order = list(gates.items())
            for instances, gate in order[number % len(order) :] + order[: number % len(order)]:
                series = bodies(sample, arguments.images)
                rates.setdefault(instances, []).append(once(gate, series))
        memory = {instances: gate.peak_mb() for instances, gate in gates.items()}
        sizes = {instances: gate.database.stat().st_size for instances, gate in gates.items()}
    rows = [
        row(instances, rates, memory[instances], sizes[instances])
        for instances in arguments.instances
    ]
    for one in rows:
        print(shown(one))
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2))
    return 0


def fill(path: Path, instances: int) -> None:
    """Write a ledger that holds so many instances of the past."""
    path.parent.mkdir(parents=True)
    database = Database(f"sqlite:///{path}")
    database.upgrade()
    body = json_text.dump(Assessment(Verdict.MEETS, "Filled for a benchmark."))
    for first in range(0, instances, SLICES):
        number = first // SLICES
        numbers = range(first, min(first + SLICES, instances))
        with database.write() as connection:
            study, place = divmod(number, SERIES_A_STUDY)
            if place == 0:
                connection.execute(insert(StudyRow).values(**_study(study)))
            connection.execute(insert(SeriesRow).values(**_series(number, study, len(numbers))))
            connection.execute(insert(ObjectRow), [_object(one, number) for one in numbers])
            connection.execute(insert(FrameRow), [_frame(one, number) for one in numbers])
            connection.execute(
                insert(AssessmentRow).values(
                    series_id=number + 1,
                    generation=len(numbers),
                    current=True,
                    verdict=Verdict.MEETS,
                    score=3.0,
                    alarm=False,
                    body=body,
                    last_object_at=EPOCH + first,
                    created_at=EPOCH + first,
                )
            )
    database.dispose()


def _study(number: int) -> dict[str, Any]:
    return {
        "id": number + 1,
        "study_instance_uid": f"{UID_ROOT}.1.{number}",
        "patient_name": f"Filled^{number}",
        "patient_id": str(number),
        "study_date": "20240101",
        "report_due": False,
    }


def _series(number: int, study: int, slices: int) -> dict[str, Any]:
    uid = f"{UID_ROOT}.2.{number}"
    at = EPOCH + number * SLICES
    facts = SeriesFacts(uid, f"{UID_ROOT}.1.{study}", "CT", series_number=number)
    return {
        "id": number + 1,
        "study_id": study + 1,
        "series_instance_uid": uid,
        "modality": "CT",
        "scanner": f"Filled {number % 5}",
        "acquisition": facts.acquisition,
        "facts": json_text.dump(facts),
        "state": SeriesState.CLOSED,
        "generation": slices,
        "reopened": 0,
        "first_object_at": at,
        "last_object_at": at + slices,
        "closes_at": at + slices,
    }


def _object(number: int, series: int) -> dict[str, Any]:
    digest = hashlib.sha256(str(number).encode()).hexdigest()
    return {
        "id": number + 1,
        "series_id": series + 1,
        # spread over the index as real UIDs are
        "sop_instance_uid": f"{UID_ROOT}.{int(digest[:24], 16)}",
        "sha256": digest,
        "sop_class_uid": "1.2.840.10008.5.1.4.1.1.2",
        "transfer_syntax_uid": "1.2.840.10008.1.2.1",
        "path": f"{digest[:2]}/{digest}.dcm",
        "size_bytes": 526_000,
        "state": ObjectState.IMAGE,
        "received_at": EPOCH + number,
    }


def _frame(number: int, series: int) -> dict[str, Any]:
    return {
        "id": number + 1,
        "object_id": number + 1,
        "series_id": series + 1,
        "frame_number": 1,
        "instance_number": number % SLICES + 1,
        "work": FrameWork.SCORE,
        "state": FrameState.SCORED,
        "attempts": 1,
        "received_at": EPOCH + number,
        "scored_at": EPOCH + number,
        "bundle_digest": "0" * 64,
        "stack": "axial",
        "position_mm": float(number % SLICES),
        "score": 3.0,
    }


def once(gate: WholeGate, series: list[tuple[str, bytes]]) -> tuple[float, float]:
    """Send one series; images a second acknowledged, and scored."""
    began = time.time()
    sent = send(gate.port, series, 0.0, [])
    query = f"SELECT count(*), max(scored_at) FROM frame WHERE received_at >= {began} AND scored_at"
    while (found := gate.rows(query)[0])[0] < len(series):
        time.sleep(0.1)
    return len(series) / (sent - began), len(series) / (found[1] - began)


def row(
    instances: int, rates: dict[int, list[tuple[float, float]]], memory: dict[str, float], size: int
) -> dict[str, Any]:
    own, smallest = rates[instances], rates[min(rates)]
    found: dict[str, Any] = {"instances": instances, "rounds": len(own), "database_mb": size / 1e6}
    for place, name in enumerate(("acknowledged", "scored")):
        values = [one[place] for one in own]
        ratios = [one[place] / other[place] for one, other in zip(own, smallest, strict=True)]
        found |= {
            f"{name}_images_per_s": statistics.median(values),
            f"{name}_spread": [min(values), max(values)],
            f"{name}_ratio": statistics.median(ratios),
        }
    return found | {"peak_mb": memory}


def shown(one: dict[str, Any]) -> str:
    told = [f"{one['instances']:>9,} instances ({one['database_mb']:.0f} MB)"]
    for name in ("acknowledged", "scored"):
        low, high = one[f"{name}_spread"]
        told.append(
            f"{name} {one[f'{name}_images_per_s']:.0f} images/s [{low:.0f}, {high:.0f}], "
            f"ratio {one[f'{name}_ratio']:.2f}"
        )
    memory = ", ".join(f"{role} {mb:.0f}" for role, mb in one["peak_mb"].items())
    return "; ".join(told) + f"; MB at most: {memory}"


if __name__ == "__main__":
    os.chdir(Path(__file__).parents[1])
    sys.exit(main())
