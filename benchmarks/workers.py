"""Workers: slices scored a second, by the number of workers on one ledger.

    python benchmarks/workers.py --url postgresql://iqgate@/bench?host=/run/postgresql
                                 [--workers 1 2 4 8] [--slices 2000] [--series 8] [--batch 16]
                                 [--delay-ms 5] [--rounds 3] [--json FILE]

A stub stands for decoding, drawing and the network: a fixed delay a slice, in which a worker takes
no processor time, as if a GPU of its own worked. What is measured is therefore the ledger alone:
claims, results and thumbnails from several processes at once, and where that stops growing. The
ideal is workers over delay. The database must be empty; rows are written into it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import sys
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

from service.config import Complete
from service.judge.evidence import SeriesFacts
from service.ledger import reading, reception, scoring
from service.ledger.database import Database
from service.ledger.reception import Arrival, ReceivedObject
from service.ledger.scoring import Claim, FrameOutcome
from service.ledger.tables import FrameState

UID_ROOT = "1.2.826.0.1.3680043.10.1"
THUMBNAIL = (160, 160, bytes(160 * 160))
LEASE_S = 60.0
GROUP = 64


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--url", required=True, help="of an empty database")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--slices", type=int, default=2000)
    parser.add_argument("--series", type=int, default=8, help="that the slices belong to")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--delay-ms", type=float, default=5.0, help="a slice")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    arguments = parser.parse_args()
    database = Database(arguments.url)
    database.upgrade()
    with database.read() as connection:
        if reading.changes(connection, 0)[0]:
            print(f"{arguments.url} is not empty", file=sys.stderr)
            return 2
    rates: dict[int, list[float]] = {count: [] for count in arguments.workers}
    for turn in range(arguments.rounds):
        for count in arguments.workers:
            fill(database, f"{turn}.{count}", arguments.slices, arguments.series)
            seconds = score_all(count, arguments)
            rates[count].append(arguments.slices / seconds)
    ideal = 1000 / arguments.delay_ms
    print(f"{arguments.slices} slices in {arguments.series} series, {arguments.delay_ms:g} ms each")
    print("workers   slices/s, median (lowest–highest)   of the ideal")
    for count, measured in rates.items():
        middle = statistics.median(measured)
        span = f"{middle:.0f} ({min(measured):.0f}–{max(measured):.0f})"
        print(f"{count:>7}   {span:<33}   {middle / (ideal * count):.0%}")
    if arguments.json:
        figures: dict[str, Any] = {**vars(arguments), "slices_per_s": rates}
        arguments.json.write_text(json.dumps(figures, default=str, indent=1) + "\n")
    database.dispose()
    return 0


def fill(database: Database, name: str, slices: int, series: int) -> None:
    """Record slices that wait to be scored, dealt out among series."""
    now = time.time()
    association_id = reception.start_association(
        database, calling_ae_title="BENCH", address="::1", receiver="bench:1", now=now
    )
    arrivals = [
        Arrival(_received(f"{name}.{number % series + 1}", number), association_id, now)
        for number in range(slices)
    ]
    for start in range(0, slices, GROUP):
        reception.record_objects(database, arrivals[start : start + GROUP], complete=Complete())


def _received(series: str, number: int) -> ReceivedObject:
    series_uid = f"{UID_ROOT}.{series}"
    uid = f"{series_uid}.{number}"
    facts = SeriesFacts(
        series_instance_uid=series_uid, study_instance_uid=f"{series_uid}.0", modality="CT"
    )
    return ReceivedObject(
        facts=facts,
        patient_name="",
        patient_id="",
        study_date="",
        sop_instance_uid=uid,
        sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        instance_number=number,
        frames=1,
        path="",
        sha256=uid.rjust(64)[-64:],
        size_bytes=0,
        set_aside=None,
    )


def score_all(count: int, arguments: argparse.Namespace) -> float:
    """Seconds from when all workers are ready to the last result stored."""
    context = multiprocessing.get_context("spawn")
    barrier, ends = context.Barrier(count + 1), context.SimpleQueue()
    processes = [
        context.Process(target=work, args=(arguments, barrier, ends)) for _ in range(count)
    ]
    for one in processes:
        one.start()
    barrier.wait()
    began = time.monotonic()
    last = max(ends.get() for _ in processes)
    for one in processes:
        one.join()
    return float(last - began)


def work(arguments: argparse.Namespace, barrier: Barrier, ends: Any) -> None:
    """A worker: claim, wait as long as scoring would take, store; until nothing is left."""
    database = Database(arguments.url)
    barrier.wait()
    last = time.monotonic()
    while True:
        claim = scoring.claim(
            database, limit=arguments.batch, lease_s=LEASE_S, max_attempts=3, now=time.time()
        )
        if claim is None:  # the others may be claiming all it saw
            if not _left(database):
                break
            time.sleep(arguments.delay_ms / 1000)
            continue
        time.sleep(arguments.delay_ms / 1000 * len(claim.frames))
        scoring.store(database, claim, _outcomes(claim), thumbnails_kept=6, now=time.time())
        last = time.monotonic()
    ends.put(last)
    database.dispose()


def _left(database: Database) -> bool:
    with database.read() as connection:
        return reading.backlog(connection, 0.0).frames.get(FrameState.WAITING, 0) > 0


def _outcomes(claim: Claim) -> list[FrameOutcome]:
    return [
        FrameOutcome(
            frame_id=one.frame_id,
            stack="axial",
            position_mm=float(one.frame_id),
            score=one.frame_id * 7919 % 400 / 100,
            spread=0.1,
            noise_hu=10.0,
            snr=None,
            level=None,
            drawn_at_level=None,
            bundle_digest="bench",
            excluded=None,
            thumbnail=THUMBNAIL,
        )
        for one in claim.frames
    ]


if __name__ == "__main__":
    sys.exit(main())
