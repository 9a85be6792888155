"""Train the two networks of `digits.py` and write their weights beside this file.

    python train_digits.py              train both, write both files, print the test accuracy
    python train_digits.py --check      train both, compare with the files that are there
    python train_digits.py --validate   train both on 1000 of the training images, score the rest

This is ordinary training of small accurate networks: Adam on lightly shifted, turned and noised
images under a cosine schedule, with an L1 penalty, so that weights which help little end near zero.
Nothing here rounds, masks or prunes, and nothing knows what the weights will be used for. The
settings were chosen by four-fold cross-validation within the training images, never on the test
images.

One thread and fixed seeds: the same build of torch on the same kind of processor gives the same
bytes. Elsewhere sums may be taken in another order, and thousands of steps lead to other weights.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from digits import Probes, cnn, images, images_test, mlp100, pixels, pixels_test, stratified_split
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

FOLDER = Path(__file__).resolve().parent
VALIDATION = 257  # of the training images, for --validate
TOLERANCE = 1e-6  # largest difference of a weight that --check lets pass


@dataclass(frozen=True)
class Recipe:
    """How one network is trained.

    `l1` is the penalty on each unit of |weight|, `shift` the largest shift in pixels, `turn` the
    standard deviation of the rotation in radians, `noise` that of the pixels (1 is full ink).
    """

    factory: Callable[[], nn.Module]
    probes: Callable[[], Probes]
    test: Callable[[], Probes]
    epochs: int
    l1: float
    rate: float = 1e-2
    batch: int = 64
    shift: float = 0.5
    turn: float = 0.1
    noise: float = 0.1
    seed: int = 0


RECIPES = {
    "digits_mlp100": Recipe(mlp100, pixels, pixels_test, epochs=800, l1=3e-4),
    "digits_cnn": Recipe(cnn, images, images_test, epochs=500, l1=6e-4),
}


def train(recipe: Recipe, probes: Probes, *, epochs: int | None = None) -> nn.Module:
    """A network trained on probes, in eval mode; `epochs` overrides those of the recipe."""
    count = recipe.epochs if epochs is None else epochs
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        network = recipe.factory()
        _descend(recipe, network, probes, count)
    return network.eval()


def _descend(recipe: Recipe, network: nn.Module, probes: Probes, epochs: int) -> None:
    inputs, digits = torch.from_numpy(probes[0]), torch.from_numpy(probes[1])
    optimiser = torch.optim.Adam(network.parameters(), lr=recipe.rate)
    steps = epochs * -(-len(inputs) // recipe.batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for rows in batches(len(inputs), recipe.batch, epochs):
        optimiser.zero_grad()
        loss(recipe, network, inputs[rows], digits[rows]).backward()
        optimiser.step()
        schedule.step()


def batches(size: int, batch: int, epochs: int) -> Iterator[Tensor]:
    """The rows of each batch of each epoch, shuffled."""
    for _ in range(epochs):
        yield from torch.randperm(size).split(batch)


def loss(recipe: Recipe, network: nn.Module, inputs: Tensor, digits: Tensor) -> Tensor:
    """Cross entropy on disturbed inputs, plus the L1 penalty on weights (biases are free)."""
    logits = network(disturb(recipe, inputs))
    size = sum(weight.abs().sum() for weight in network.parameters() if weight.ndim > 1)
    return functional.cross_entropy(logits, digits) + recipe.l1 * size


def disturb(recipe: Recipe, inputs: Tensor) -> Tensor:
    """Inputs (N, 64) or (N, 1, 8, 8), each shifted and turned a little, with noise."""
    maps = inputs.reshape(-1, 1, 8, 8)
    angle = recipe.turn * torch.randn(len(maps))
    # affine_grid counts from -1 to 1 over 8 pixels, so one pixel is a quarter
    moves = recipe.shift / 4 * (2 * torch.rand(len(maps), 2) - 1)
    cos, sin = angle.cos(), angle.sin()
    rows = [cos, -sin, moves[:, 0], sin, cos, moves[:, 1]]
    turns = torch.stack(rows, 1).reshape(-1, 2, 3)
    grid = functional.affine_grid(turns, list(maps.shape), align_corners=False)
    moved = functional.grid_sample(maps, grid, align_corners=False)
    return (moved + recipe.noise * torch.randn_like(moved)).reshape(inputs.shape)


def accuracy(network: nn.Module, probes: Probes) -> float:
    """The share of probes whose largest logit is that of their digit."""
    with torch.no_grad():
        logits = network(torch.from_numpy(probes[0]))
    return float(np.mean(logits.argmax(1).numpy() == probes[1]))


def distance(network: nn.Module, path: Path) -> float:
    """The largest difference between the network's weights and those of a file; 0 if the same."""
    shipped, trained = load_file(path), network.state_dict()
    if shipped.keys() != trained.keys():
        raise ValueError(f"{path}: holds {sorted(shipped)}, expected {sorted(trained)}; retrain it")
    return max(float((trained[key] - shipped[key]).abs().max()) for key in shipped)


def write(name: str, recipe: Recipe) -> bool:
    """Train a network and write its weights."""
    network = _train_aloud(name, recipe)
    save_file(network.state_dict(), FOLDER / f"{name}.safetensors")
    return True


def check(name: str, recipe: Recipe) -> bool:
    """Train a network and compare its weights with those shipped; true if they are the same."""
    apart = distance(_train_aloud(name, recipe), FOLDER / f"{name}.safetensors")
    same = apart <= TOLERANCE
    print(f"{name}: weights differ by at most {apart:g}", "(passes)" if same else "(FAILS)")
    if not same:
        print(f"expected at most {TOLERANCE:g}. Another build of torch or kind of processor")
        print("gives other weights of like accuracy: compare the accuracies instead.")
    return same


def validate(name: str, recipe: Recipe) -> bool:
    """Train a network on a part of the training images and score it on the rest of them."""
    inputs, digits = recipe.probes()
    kept, held = stratified_split(digits, VALIDATION, np.random.default_rng(recipe.seed))
    network = train(recipe, (inputs[kept], digits[kept]))
    print(f"{name}: validation accuracy {accuracy(network, (inputs[held], digits[held])):.4f}")
    return True


def _train_aloud(name: str, recipe: Recipe) -> nn.Module:
    started = perf_counter()
    network = train(recipe, recipe.probes())
    seconds = perf_counter() - started
    print(
        f"{name}: train accuracy {accuracy(network, recipe.probes()):.4f},",
        f"test accuracy {accuracy(network, recipe.test()):.4f}, {seconds:.0f} s",
    )
    return network


def main() -> int:
    """Run the command; 1 if a check fails."""
    options = argparse.ArgumentParser(description="Train the two digits networks.")
    modes = options.add_mutually_exclusive_group()
    for act in (check, validate):
        modes.add_argument(
            f"--{act.__name__}", dest="act", action="store_const", const=act, help=act.__doc__
        )
    options.set_defaults(act=write)
    act = options.parse_args().act
    torch.set_num_threads(1)  # sums in one order
    passed = [act(name, recipe) for name, recipe in RECIPES.items()]
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
