"""The loop: what it keeps, when it stops, that it repeats itself."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

from models.networks.network import Network
from models.render import Float
from trainer import loop
from trainer.batches import Draw, Pictures, Shuffled, measured_batches, training_batches
from trainer.losses import Supervised
from trainer.settings import Hardware, Training, Views
from trainer.tracking import Epoch, read_history

HARDWARE = Hardware(accelerator="cpu", threads=1)
SIDE = 8
VIEWS = Views(side=SIDE, mirror=0.5, flip=0.5, turn=0.75)


@dataclass(frozen=True)
class Noise:
    """A picture of noise: the stronger, the worse."""

    seed: int
    strength: float

    def load(self) -> Float:
        noise = np.random.default_rng(self.seed).normal(0, self.strength, (1, SIDE, SIDE))
        return (0.5 + noise).clip(0, 1).astype(np.float32)


@dataclass(frozen=True)
class TinyPreset:
    channels: int = 1
    side: int = SIDE
    highest: float = 4.0


class Tiny(Network):
    """A convolution, dropout and a mean: quick, and random in training."""

    def __init__(self, dropout: float = 0.2) -> None:
        super().__init__()
        self.preset = TinyPreset()
        self.features = nn.Conv2d(1, 8, 3)
        self.drop = nn.Dropout(dropout)
        self.score = nn.Linear(8, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        features = self.features(8 * (pictures - 0.5)).square().mean(dim=(2, 3))
        return self.score(self.drop(features)).squeeze(1)

    def targets(self, scores: Tensor) -> Tensor:
        return scores / 4

    def estimate(self, raw: Tensor) -> Tensor:
        return raw * 4


def pictures(count: int = 24, first: int = 0) -> Pictures:
    strengths = np.linspace(0, 0.3, count)
    images = [Noise(first + i, float(s)) for i, s in enumerate(strengths)]
    return Pictures(images, 4 - strengths / 0.3 * 4, VIEWS, 1)


def trained(
    run: Path,
    settings: Training,
    *,
    stop_after: int | None = None,
    validation: Pictures | None = None,
    dropout: float = 0.2,
    text: str = "recipe",
    count: int = 24,
) -> tuple[Tiny, tuple[Epoch, ...]]:
    torch.manual_seed(settings.seed)
    network = Tiny(dropout)
    epochs = loop.train(
        network,
        Supervised(network),
        settings,
        HARDWARE,
        loop.start(HARDWARE),
        pictures(count),
        loop.Step(run, text, stop_after),
        validation=validation,
    )
    return network, epochs


def settings(**changes: object) -> Training:
    base = {"seed": 3, "epochs": 6, "batch_size": 4, "learning_rate": 0.02, "schedule": "cosine"}
    return Training.model_validate(base | changes)


@pytest.mark.parametrize("stop", [1, 3, 5])
def test_a_run_stopped_at_any_epoch_goes_on_to_the_same_numbers(stop: int, tmp_path: Path) -> None:
    whole, told = trained(tmp_path / "whole", settings())
    trained(tmp_path / "parts", settings(), stop_after=stop)
    torch.rand(stop)  # what else the process draws must not matter
    resumed, told_again = trained(tmp_path / "parts", settings())
    assert told_again == told
    assert read_history(tmp_path / "parts") == told
    for (name, a), b in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


def test_loss_falls_and_tensorboard_has_it(tmp_path: Path) -> None:
    longer = settings(epochs=20, learning_rate=0.1)
    _, epochs = trained(tmp_path, longer, validation=pictures(12, 50), dropout=0)
    assert epochs[-1].loss < 0.5 * epochs[0].loss
    assert epochs[-1].learning_rate == pytest.approx(0, abs=1e-9)
    assert (epochs[-1].srocc or 0) > 0.8
    assert list((tmp_path / "tensorboard").glob("events.*"))
    lines = (tmp_path / "history.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line)["number"] for line in lines] == list(range(1, 21))


def test_accumulated_batches_are_one_larger_batch(tmp_path: Path) -> None:
    # Without dropout, four batches of 3 are the mean of one of 12: the same pictures in order.
    large, _ = trained(tmp_path / "a", settings(batch_size=12, epochs=2), dropout=0)
    small, _ = trained(tmp_path / "b", settings(batch_size=3, accumulate=4, epochs=2), dropout=0)
    for a, b in zip(large.state_dict().values(), small.state_dict().values(), strict=True):
        assert torch.allclose(a, b, atol=1e-5)


def test_best_weights_are_handed_on(tmp_path: Path) -> None:
    validation = pictures(12, 50)
    network, epochs = trained(
        tmp_path,
        settings(keep="best", learning_rate=0.2, schedule="constant"),
        validation=validation,
    )
    best = max(epoch.srocc for epoch in epochs if epoch.srocc is not None)
    scores = loop.estimates(network, validation)
    assert spearmanr(scores, validation.scores.numpy()).statistic == pytest.approx(best)
    assert best > (epochs[-1].srocc or 0)


def test_training_stops_once_validation_gets_no_better(tmp_path: Path) -> None:
    # Without noise to tell apart no epoch is better than the first.
    flat = Pictures([Noise(9, 0.1)] * 4, np.array([1.0, 2.0, 3.0, 4.0]), VIEWS, 1)
    _, epochs = trained(tmp_path, settings(patience=2), validation=flat)
    assert len(epochs) == 2
    _, again = trained(tmp_path, settings(patience=2), validation=flat)
    assert again == epochs


def test_misuse_is_explained(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="lower batch_size"):
        trained(tmp_path, settings(batch_size=25))
    with pytest.raises(ValueError, match="validate"):
        trained(tmp_path, settings(keep="best"))
    trained(tmp_path, settings(), stop_after=1)
    with pytest.raises(ValueError, match="another recipe"):
        trained(tmp_path, settings(), text="changed")


def test_processes_share_an_epoch_and_epochs_differ() -> None:
    whole = [draw for batch in Shuffled(24, 4, 1) for draw in batch]
    shares = [[d for batch in Shuffled(24, 2, 1, rank, 2) for d in batch] for rank in (0, 1)]
    assert sorted(d.index for d in whole) == list(range(24))
    assert sorted(d.index for share in shares for d in share) == list(range(24))
    later = Shuffled(24, 4, 1)
    later.epoch = 1
    assert [d.index for batch in later for d in batch] != [d.index for d in whole]


def test_too_few_others_come_round_again() -> None:
    drawn = [draw.index for batch in Shuffled(3, 4, 1, batches=3) for draw in batch]
    assert len(drawn) == 12
    assert {drawn.count(index) for index in range(3)} == {4}


@pytest.mark.parametrize("workers", [0, 2])
def test_views_do_not_depend_on_who_loads_them(workers: int) -> None:
    loader = training_batches(pictures(), Shuffled(24, 4, 1), Hardware(workers=workers))
    order = [draw for batch in Shuffled(24, 4, 1) for draw in batch]
    one_by_one = pictures()
    for (views, scores), start in zip(loader, range(0, 24, 4), strict=True):
        for place in range(4):
            view, score = one_by_one[order[start + place]]
            assert torch.equal(views[place], view)
            assert scores[place] == score


def test_estimates_keep_the_order_of_the_pictures() -> None:
    torch.manual_seed(1)
    network = Tiny()
    data = pictures(7)
    found = loop.estimates(network, data, batch_size=3)
    assert network.training
    network.eval()
    for index in range(7):
        view, _ = data[Draw(index)]
        assert found[index] == pytest.approx(float(network(view)[0].detach()) * 4, abs=1e-5)
    assert len(list(measured_batches(data, range(7), 3, HARDWARE))) == 3


def test_mixed_precision_runs_and_resumes(tmp_path: Path) -> None:
    hardware = Hardware(accelerator="cpu", threads=1, precision="bf16-mixed")
    losses = []
    for stop in (1, 2):
        torch.manual_seed(3)
        network = Tiny()
        epochs = loop.train(
            network,
            Supervised(network),
            settings(),
            hardware,
            loop.start(hardware),
            pictures(),
            loop.Step(tmp_path, "recipe", stop),
        )
        losses.append([epoch.loss for epoch in epochs])
    assert losses[1][:1] == losses[0]
    assert losses[1][1] < losses[1][0]


def test_hardware_that_is_not_there_is_explained() -> None:
    with pytest.raises(ValueError, match="accelerator"):
        loop.start(Hardware(accelerator="tpu"))
