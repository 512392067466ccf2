"""`python -m trainer` as ever, but every process writes down what its trainings came to.

Started by test_trainer_ddp.py; Fabric starts it once more for every further process.
    python -m tests.trainer.both_processes FOLDER reproduce …
"""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from models.networks.network import Network
from trainer import loop
from trainer.__main__ import main
from trainer.tracking import Epoch

FOLDER = Path(sys.argv[1])
train = loop.train


def observed(network: Network, *arguments: Any, **options: Any) -> tuple[Epoch, ...]:
    """loop.train, and a file for this training and process: its epochs, a digest of its weights."""
    epochs = train(network, *arguments, **options)
    fabric, step = arguments[3], arguments[5]
    digest = hashlib.sha256()
    for tensor in network.state_dict().values():
        digest.update(tensor.contiguous().numpy().tobytes())
    told = {"epochs": [asdict(epoch) for epoch in epochs], "weights": digest.hexdigest()}
    path = FOLDER / f"{step.run.name}-{fabric.global_rank}-of-{fabric.world_size}.json"
    path.write_text(json.dumps(told), "utf-8")
    return epochs


if __name__ == "__main__":
    loop.train = observed
    raise SystemExit(main(sys.argv[2:]))
