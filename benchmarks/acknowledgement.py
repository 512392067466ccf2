"""Acknowledgement: how long senders at scanner pace wait for 0x0000 while the gate scores.

    python benchmarks/acknowledgement.py [--senders 4] [--rate 50] [--seconds 20] [--json FILE]

The whole gate runs (`iqgate serve`). Each sender holds one association, carries one series of CT
slices and sends by the clock, its share of the rate; a time is from the first byte of the C-STORE
to its answer. The slices are the simulated ones of `python -m trainer phantom` under fresh UIDs.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import threading
from pathlib import Path

from paced_sender import bodies, phantom, send
from whole_gate import whole_gate


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--senders", type=int, default=4)
    parser.add_argument("--rate", type=float, default=50, help="images a second, all senders")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--processes", type=int, default=2, help="receiving processes")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    arguments = parser.parse_args()
    count = int(arguments.rate * arguments.seconds / arguments.senders)
    interval_s = arguments.senders / arguments.rate
    with tempfile.TemporaryDirectory() as name:
        sample = phantom(Path(name))
    series = [bodies(sample, count) for _ in range(arguments.senders)]
    waits: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        processes = f"processes = {arguments.processes}"
        with whole_gate(Path(name), receive=processes) as gate:
            senders = [
                threading.Thread(
                    target=send,
                    args=(gate.port, one, interval_s, waits),
                    kwargs={
                        "calling_ae_title": f"CT{number}",
                        "delay_s": interval_s * number / arguments.senders,
                    },
                )
                for number, one in enumerate(series)
            ]
            for sender in senders:
                sender.start()
            for sender in senders:
                sender.join()
            frames = dict(gate.rows("SELECT state, count(*) FROM frame GROUP BY state"))
    cuts = statistics.quantiles(waits, n=100)
    figures = {
        "images": len(waits),
        "median_ms": 1000 * cuts[49],
        "p95_ms": 1000 * cuts[94],
        "p99_ms": 1000 * cuts[98],
        "longest_ms": 1000 * max(waits),
        "frames_when_sending_ended": frames,
    }
    print(json.dumps(figures, indent=2))
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2))
    return 0


if __name__ == "__main__":
    os.chdir(Path(__file__).parents[1])
    sys.exit(main())
