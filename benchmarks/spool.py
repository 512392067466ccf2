"""The spool by itself: objects a second stored and read, in a folder and in an object store.

    python benchmarks/spool.py [--rounds 5] [--objects 200] [--threads 1 8] [--json FILE]
                               [--url s3://bucket/prefix --endpoint URL]

Objects are CT slices of 512² (0.5 MB); each is new. Without --url the store is moto's server, a
process of its own on this host: a test double in Python that keeps everything in memory. That
measures the gate's side and the protocol, and no store. The media take turns within each round;
medians are of rounds. What is put into a store of yours is removed again.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from ingest import free_port
from paced_sender import bodies, phantom
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from service.receive.part10 import file_head
from service.spool.face import Spool
from service.spool.folder import FolderSpool
from service.spool.objects import ObjectSpool

READY_S = 30.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--objects", type=int, default=200, help="a round and medium")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--url", help="of a store of yours; credentials from the environment")
    parser.add_argument("--endpoint", default="")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    arguments = parser.parse_args()
    rates: dict[str, list[float]] = {}
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=".")))
        media: dict[str, Spool] = {"folder": FolderSpool(work / "spool")}
        if arguments.url:
            media["store"] = ObjectSpool(arguments.url, arguments.endpoint)
        else:
            media["moto"] = stack.enter_context(moto())
        sample = phantom(work)
        for spool in media.values():
            spool.prepare()
        for number in range(arguments.rounds):
            for threads in arguments.threads:
                order = list(media.items())
                for name, spool in order if number % 2 else order[::-1]:
                    slices = bodies(sample, arguments.objects)
                    for step, rate in measured(spool, slices, threads):
                        rates.setdefault(f"{name}|{step}|{threads}", []).append(rate)
    rows = [
        {
            "medium": name,
            "step": step,
            "threads": int(threads),
            "objects_per_s": statistics.median(found),
            "least": min(found),
            "most": max(found),
        }
        for (name, step, threads), found in ((key.split("|"), each) for key, each in rates.items())
    ]
    for row in rows:
        print(
            f"{row['medium']:8}{row['step']:7}{row['threads']:3} threads"
            f"{row['objects_per_s']:8.0f} objects/s ({row['least']:.0f} to {row['most']:.0f})"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2))
    return 0


def measured(
    spool: Spool, slices: Sequence[tuple[str, bytes]], threads: int
) -> Iterator[tuple[str, float]]:
    """Objects a second, stored and then read whole, by so many threads; none is left."""
    parts = [
        (file_head(CTImageStorage, uid, str(ExplicitVRLittleEndian)), body) for uid, body in slices
    ]
    os.sync()  # what was written before is not these objects' to flush
    with ThreadPoolExecutor(threads) as pool:
        stored, rate = timed(pool, lambda one: spool.store(*one), parts)
        yield "store", rate
        paths = [one.path for one in stored]
        _, rate = timed(pool, partial(spool.read, stop_before_pixels=False), paths)
        yield "read", rate
        list(pool.map(spool.remove, paths))


def timed(
    pool: ThreadPoolExecutor, work: Callable[[Any], Any], of: Sequence[Any]
) -> tuple[list[Any], float]:
    began = time.perf_counter()
    done = list(pool.map(work, of))
    return done, len(of) / (time.perf_counter() - began)


@contextmanager
def moto() -> Iterator[ObjectSpool]:
    """A spool in a bucket of moto's server."""
    port = free_port()
    endpoint = f"http://127.0.0.1:{port}"
    os.environ.update(AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b", AWS_REGION="us-east-1")
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + READY_S
        while not made(f"{endpoint}/spool"):
            if time.monotonic() > deadline:
                raise TimeoutError("moto's server did not start")
            time.sleep(0.1)
        yield ObjectSpool("s3://spool/prefix", endpoint)
    finally:
        server.terminate()
        server.wait()


def made(bucket: str) -> bool:
    try:
        with urllib.request.urlopen(urllib.request.Request(bucket, method="PUT")):
            return True
    except urllib.error.URLError:
        return False


if __name__ == "__main__":
    sys.exit(main())
