"""Where a slice's time goes: every step of the gate on one CT slice, one after the other.

    python benchmarks/profile_of_a_slice.py [--slices 200] [--bundle NAME] [--json FILE]

Each step is done for every slice of a simulated series, by itself and on one thread, with the
gate's own code: milliseconds of the processor and of the clock, medians of a slice (of a batch,
divided by its size, where the gate works in batches). What the network layer costs is in what the
receiving process takes altogether, in `time_to_verdict.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from paced_sender import bodies, phantom
from pydicom import Dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from models import domain
from models.card import load_bundle
from models.measure import soft_tissue_noise_hu
from models.physical import to_hu
from service import header
from service.config import Complete, Score, Settings
from service.judge.policy import parse_policy
from service.ledger import closing, reception, scoring
from service.ledger.database import Database
from service.ledger.reception import Arrival, ReceivedObject
from service.ledger.scoring import FrameOutcome
from service.receive.origin import Origins
from service.receive.part10 import file_head
from service.score.conclude import Concluder
from service.score.decode import decode_frame
from service.score.engines.onnxruntime import OnnxRuntimeEngine
from service.score.frame import frame_header, position_mm, spacing_mm, stack
from service.score.scorer import identity
from service.score.select import Candidate, reason_to_exclude
from service.spool.folder import FolderSpool

BATCH = 16
JUDGED_EVERY = 75
"""Slices after which the series is judged here; the gate judges as often as it can afford."""


class Clock:
    """Seconds by step: of the processor and of the wall, a slice each."""

    def __init__(self) -> None:
        self.steps: dict[str, list[tuple[float, float]]] = {}

    def take(self, step: str, work: Callable[..., Any], *of: Any, slices: int = 1) -> Any:
        cpu, wall = time.process_time(), time.perf_counter()
        done = work(*of)
        taken = time.process_time() - cpu, time.perf_counter() - wall
        self.steps.setdefault(step, []).append((taken[0] / slices, taken[1] / slices))
        return done

    def rows(self) -> list[dict[str, Any]]:
        return [
            {
                "step": step,
                "cpu_ms": 1000 * statistics.median(cpu for cpu, _ in taken),
                "wall_ms": 1000 * statistics.median(wall for _, wall in taken),
            }
            for step, taken in self.steps.items()
        ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--slices", type=int, default=200)
    parser.add_argument("--bundle", default="ct-md-iqa-compact")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        sample = phantom(Path(name))
    series = bodies(sample, arguments.slices)
    clock = Clock()
    with tempfile.TemporaryDirectory() as name:
        settings = Settings(mode="shadow", data_dir=Path(name))
        database = Database(settings.database_url)
        database.upgrade()
        paths = received(clock, settings, database, series)
        scored(clock, settings, database, paths, arguments.bundle)
        database.dispose()
    rows = clock.rows()
    print(f"{'step':34}{'processor ms':>14}{'clock ms':>10}")
    for row in rows:
        print(f"{row['step']:34}{row['cpu_ms']:14.2f}{row['wall_ms']:10.2f}")
    print(f"{'together':34}{sum(r['cpu_ms'] for r in rows):14.2f}", end="")
    print(f"{sum(r['wall_ms'] for r in rows):10.2f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2))
    return 0


def received(
    clock: Clock, settings: Settings, database: Database, series: list[tuple[str, bytes]]
) -> list[Path]:
    """What receiving does with every dataset; where the files lie."""
    spool, origins, paths = FolderSpool(settings.spool), Origins(), []
    spool.prepare()
    syntax = str(ExplicitVRLittleEndian)
    record = partial(reception.record_objects, database, complete=Complete())
    association = reception.start_association(
        database, calling_ae_title="CT", address="127.0.0.1", receiver="here:1", now=0.0
    )
    for uid, body in series:
        ds = clock.take(
            "header to route by", header.parse_header, body, syntax, header.ROUTING_TAGS
        )
        origin = origins.of(ds)
        clock.take("SHA-256 (within the next step)", sha256, body)
        head = file_head(CTImageStorage, uid, syntax)
        stored = clock.take("write and flush the file", spool.store, head, body)
        one = ReceivedObject(
            facts=origin.facts,
            patient_name=origin.patient_name,
            patient_id=origin.patient_id,
            study_date=origin.study_date,
            sop_instance_uid=uid,
            sop_class_uid=str(CTImageStorage),
            transfer_syntax_uid=syntax,
            instance_number=len(paths) + 1,
            frames=1,
            path=stored.path,
            sha256=stored.sha256,
            size_bytes=stored.size_bytes,
            set_aside=None,
        )
        arrival = Arrival(one, association, time.time())
        clock.take("rows, committed one at a time", record, [arrival])
        paths.append(settings.spool / stored.path)
    return paths


def scored(
    clock: Clock, settings: Settings, database: Database, paths: list[Path], name: str
) -> None:
    """What the worker does with every frame, and the provisional verdicts."""
    bundle = load_bundle(settings.bundles / name)
    engine = OnnxRuntimeEngine(bundle, threads=1)
    score = Score()
    policy = parse_policy('[[rule]]\nname = "ct"\nmodality = "CT"\nmeets = 2.0')
    concluder = Concluder(settings, database, policy, lambda _: identity(bundle))
    spec = bundle.card.render
    by_path = {path.relative_to(settings.spool).as_posix(): path for path in paths}
    claim_batch = partial(scoring.claim, database, limit=BATCH, lease_s=60, max_attempts=3, now=0.0)
    store = partial(scoring.store, database, thumbnails_kept=0, now=1.0)
    done = 0
    while done < len(paths):
        claim = clock.take("claim", claim_batch, slices=BATCH)
        pictures, outcomes = [], []
        for frame in claim.frames:
            path = by_path[frame.path]
            ds = clock.take(
                "read and parse", partial(header.read_file, stop_before_pixels=False), path
            )
            flat = frame_header(ds, 1)
            clock.take("select: rules, stack, place", select, flat, score)
            stored = clock.take("decode", decode_frame, ds, 1, score.max_frame_pixels)
            hu = clock.take("Hounsfield units", to_hu, stored, flat)
            noise = clock.take("noise figure", soft_tissue_noise_hu, hu)
            clock.take("domain", domain.describe_ct, hu, spacing_mm(flat))
            pictures.append(clock.take("window and resampling", spec.draw, hu))
            outcomes.append((frame, noise))
        inferred = clock.take("infer (one thread)", infer, engine, pictures, slices=len(pictures))
        results = [
            FrameOutcome(
                frame_id=frame.frame_id,
                stack="axial",
                position_mm=float(frame.frame_id),
                score=float(one),
                spread=None,
                noise_hu=noise,
                snr=None,
                level=None,
                drawn_at_level=None,
                bundle_digest=bundle.digest,
                excluded=None,
                thumbnail=None,
            )
            for (frame, noise), one in zip(outcomes, inferred, strict=True)
        ]
        clock.take("store results", store, claim, results, slices=len(results))
        done += len(results)
        if done // JUDGED_EVERY > (done - len(results)) // JUDGED_EVERY:
            clock.take(
                f"judge the series, every {JUDGED_EVERY}",
                concluder.provisional,
                1,
                time.time,
                slices=JUDGED_EVERY,
            )
    assert not closing.snapshot(database, 1).pending


def select(flat: Dataset, score: Score) -> tuple[object, ...]:
    candidate = Candidate.from_header(flat)
    reason = reason_to_exclude(candidate, score.excluded_name_patterns)
    return reason, stack(flat), position_mm(flat)


def infer(engine: OnnxRuntimeEngine, pictures: list[Any]) -> list[float]:
    return [float(engine.infer(one[None])["score"][0]) for one in pictures]


if __name__ == "__main__":
    os.chdir(Path(__file__).parents[1])
    sys.exit(main())
