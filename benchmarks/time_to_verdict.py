"""Time to verdict: from a series' last slice to its provisional and its final verdict.

    python benchmarks/time_to_verdict.py [--slices 40 300 2000] [--pace 10 50 burst] [--rounds 5]
                                         [--json FILE]

The whole gate runs (`iqgate serve`), the sender marked "whole series on one association". A series
of CT slices goes out at a scanner's pace, images a second, or as a burst, as fast as it is
acknowledged. Provisional: from the last slice's acknowledgement to the stored verdict that
includes all slices. Final: from completion, which is the association's end and the settle time, to
the closed series. Shares: of the worker's seconds by stage, of the processor's by role. A long
series at a slow pace takes minutes a round: such pairs are run once unless --rounds is given.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from paced_sender import bodies, phantom, send
from whole_gate import WholeGate, whole_gate

SETTLE_S = 2.0
LONG_S = 60.0
"""A round that sends for longer is not repeated unless asked for."""
BURST = "burst"
GIVE_UP_S = 900.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--slices", type=int, nargs="+", default=[40, 300, 2000])
    parser.add_argument("--pace", nargs="+", default=["10", "50", BURST])
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        sample = phantom(Path(name))
    rows = []
    sender = f"settle_s = {SETTLE_S}"
    for slices in arguments.slices:
        for pace in arguments.pace:
            sending_s = 0.0 if pace == BURST else slices / float(pace)
            rounds = arguments.rounds or (1 if sending_s > LONG_S else 5)
            with tempfile.TemporaryDirectory() as name:
                marked = "[receive.senders.CT]\nwhole_series_on_one_association = true"
                with whole_gate(Path(name), receive=marked, rest=f"[complete]\n{sender}") as gate:
                    measured = [once(gate, bodies(sample, slices), pace) for _ in range(rounds)]
                    memory = gate.peak_mb()
            rows.append(row(slices, pace, measured, memory))
            print(shown(rows[-1]), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2))
    return 0


def once(gate: WholeGate, series: list[tuple[str, bytes]], pace: str) -> dict[str, Any]:
    """Send one series; its times, and what it took of the processor and of the worker's time."""
    cpu, stages = gate.cpu_s(), gate.stage_s()
    began = time.time()
    ended = send(gate.port, series, 0.0 if pace == BURST else 1 / float(pace), [])
    provisional = _judged_at(gate, len(series))
    final = _closed_at(gate, began)
    return {
        "sent_s": ended - began,
        "provisional_s": min(provisional or final, final) - ended,
        "final_s": final - ended - SETTLE_S,
        "cpu_s": _less(gate.cpu_s(), cpu),
        "stage_s": _less(gate.stage_s(), stages),
    }


def row(
    slices: int, pace: str, measured: list[dict[str, Any]], memory: Mapping[str, float]
) -> dict[str, Any]:
    provisional = [one["provisional_s"] for one in measured]
    final = [one["final_s"] for one in measured]
    return {
        "slices": slices,
        "pace": pace,
        "rounds": len(measured),
        "sent_s": statistics.median(one["sent_s"] for one in measured),
        "provisional_s": statistics.median(provisional),
        "provisional_spread_s": [min(provisional), max(provisional)],
        "final_s": statistics.median(final),
        "final_spread_s": [min(final), max(final)],
        "cpu_ms_a_slice": _a_slice(measured, "cpu_s", slices),
        "stage_ms_a_slice": _a_slice(measured, "stage_s", slices),
        "peak_mb": dict(memory),
    }


def shown(one: Mapping[str, Any]) -> str:
    cpu = ", ".join(f"{name} {ms:.1f}" for name, ms in one["cpu_ms_a_slice"].items())
    stages = ", ".join(f"{name} {ms:.1f}" for name, ms in one["stage_ms_a_slice"].items())
    return (
        f"{one['slices']} slices, pace {one['pace']} ({one['rounds']} rounds, sent in "
        f"{one['sent_s']:.1f} s): provisional {one['provisional_s']:.2f} s "
        f"[{one['provisional_spread_s'][0]:.2f}, {one['provisional_spread_s'][1]:.2f}], final "
        f"{one['final_s']:.2f} s [{one['final_spread_s'][0]:.2f}, {one['final_spread_s'][1]:.2f}]\n"
        f"    ms a slice: processor {cpu}; worker {stages}; score at most "
        f"{one['peak_mb']['score']:.0f} MB"
    )


def _judged_at(gate: WholeGate, slices: int) -> float | None:
    """When the newest series' stored verdict held all its slices; None where it closed first."""
    query = """SELECT state, provisional_at, json_extract(provisional, '$.slices_total')
               FROM series ORDER BY id DESC LIMIT 1"""
    deadline = time.monotonic() + GIVE_UP_S
    while time.monotonic() < deadline:
        ((state, at, total),) = gate.rows(query)
        if total == slices:
            return float(at)
        if state == "closed":
            return None
        time.sleep(0.02)
    raise RuntimeError("the series was not judged")


def _closed_at(gate: WholeGate, since: float) -> float:
    """When the newest series' assessment was made, waited for."""
    deadline = time.monotonic() + GIVE_UP_S
    while time.monotonic() < deadline:
        found = gate.rows(f"SELECT created_at FROM assessment WHERE created_at > {since}")
        if found:
            return float(found[0][0])
        time.sleep(0.05)
    raise RuntimeError("the series was not closed")


def _less(after: Mapping[str, float], before: Mapping[str, float]) -> dict[str, float]:
    return {name: value - before.get(name, 0.0) for name, value in after.items()}


def _a_slice(measured: list[dict[str, Any]], name: str, slices: int) -> dict[str, float]:
    return {
        key: 1000 * statistics.median(one[name].get(key, 0.0) for one in measured) / slices
        for key in measured[-1][name]
    }


if __name__ == "__main__":
    os.chdir(Path(__file__).parents[1])
    sys.exit(main())
