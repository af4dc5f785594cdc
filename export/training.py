"""One training loop for every network of the project: ``python -m export train CONFIG``.

A task (`Task`) says what is trained: networks, optimisers, the batch of a step, the losses. The loop does
what all of them need: seeds, a budget of steps or minutes, mixed precision, a running mean of the weights, a
guard against steps that are not finite, checkpoints, resuming, several processes, TensorBoard.

Everything random follows from the seed and the number of the step, so a run that was killed and resumed ends
with the weights of one that was not: bit for bit on a CPU with as many threads, to rounding on a GPU, and
with a budget of steps, since with minutes the learning rate follows the clock.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import importlib
import json
import math
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.distributed
from numpy.typing import NDArray
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from export.config import read_toml, typed
from export.output import appear, write_json
from rtaudio.cli import ENDING, on_signals, on_terminal
from rtaudio.errors import FileError, UserError, nearest

FORMAT = 1
"""Of checkpoints. Counted up when older ones can no longer be read."""
TASKS = {
    "enhancer": "export.enhancer:Enhancer",
    "denoiser": "export.denoiser:DenoiserTask",
    "fusion": "export.models.fusion:FusionTask",
    "pronouncer": "export.models.pronouncer:Pronouncer",
    "aligner": "export.models.aligner:AlignerTask",
    "acoustic": "export.acoustic:AcousticTask",
    "vocoder": "export.vocoder:VocoderTask",
    "vits": "export.vits:VitsTask",
}
"""What ``task = "NAME"`` in a configuration means."""
GIVE_UP = 50
"""Updates of a network in a row without a finite gradient, after which training stops."""

Arrays = tuple[NDArray[np.float32], ...]


@dataclass(frozen=True)
class Training:
    """The table ``[training]``.

    Parameters
    ----------
    steps
        How many, where the command gives no minutes.
    batch
        Examples a step, over all processes.
    schedule
        ``constant``, or ``cosine``: the learning rate falls to `last` times itself at the end. Either rises
        over the first `rise` steps.
    clip
        Largest norm of a network's gradient; 0 for any.
    precision
        ``float32`` or ``bfloat16`` (mixed: weights stay float32).
    mean
        Weight of the past in the running mean of the weights, which is exported; less at the beginning.
    validate
        Steps between two scores on held-out material.
    checkpoint
        Seconds between two checkpoints.
    workers
        Processes that prepare batches; 0 to prepare them between the steps.
    """

    steps: int = 10_000
    batch: int = 16
    schedule: str = "cosine"
    rise: int = 100
    last: float = 0.02
    clip: float = 0.0
    precision: str = "float32"
    mean: float = 0.999
    validate: int = 500
    checkpoint: float = 120.0
    workers: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "validate", "checkpoint"):
            if not getattr(self, name) > 0:
                raise UserError(f"{name} = {getattr(self, name)}: give a positive number")
        if self.workers > 256:
            raise UserError(f"workers = {self.workers}: want 256 or fewer")
        for name in ("rise", "workers", "clip"):
            if not getattr(self, name) >= 0:
                raise UserError(f"{name} = {getattr(self, name)}: give 0 or more")
        for name in ("mean", "last"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"{name} = {getattr(self, name)}: want 0 to 1")
        for name, known in (("schedule", ("constant", "cosine")), ("precision", ("float32", "bfloat16"))):
            if getattr(self, name) not in known:
                raise UserError(f"{name} = {getattr(self, name)!r}: want {' or '.join(known)}")


Update = Callable[[str, Tensor], None]
"""Takes the name of a network and its loss; moves the network's weights."""


@dataclass(frozen=True)
class Validation:
    """Scores by name, sounds (samples,) by name with their rate in Hz, and the loss that should fall."""

    loss: float
    scalars: dict[str, float]
    rate: int = 16_000
    audio: dict[str, NDArray[np.float32]] = field(default_factory=dict)


class Task(Protocol):
    """What the loop needs to know of what it trains. Made with the task's settings, before it has data."""

    settings_type: Any
    """A dataclass of the configuration's tables; has ``seed`` and ``training``."""
    networks: Mapping[str, nn.Module]
    optimisers: Mapping[str, torch.optim.Optimizer]
    """By the name of the network whose parameters each moves."""
    averaged: str
    """The network whose weights are averaged and exported."""

    def open_data(self) -> dict[str, Any]:
        """Find the data. Returns what run and card say of it: sources, licences, speakers."""

    def batch(self, examples: range) -> Arrays:
        """Arrays (len(examples), ...) float32, which depend on the numbers and the seed only."""

    def train(
        self, batch: tuple[Tensor, ...], random: Callable[..., Tensor], update: Update
    ) -> dict[str, float]:
        """One step; ``random(*shape)`` is uniform from 0 to 1. Returns losses for the record."""

    def validate(self, network: nn.Module, device: torch.device) -> Validation:
        """Score the averaged network on material that is held out, the same every time."""


def open_task(path: Path) -> tuple[str, Any, dict[str, Any]]:
    """Read a configuration.

    Returns
    -------
    The name of the task, its class, and the file's tables.

    Raises
    ------
    UserError
        The file is no TOML or does not say which task.
    """
    tables = read_toml(path)
    name = tables.pop("task", None)
    if name not in TASKS:
        raise UserError(f"{path}: task = {name!r}: want one of {', '.join(TASKS)}{nearest(str(name), TASKS)}")
    module, _, kind = TASKS[name].partition(":")
    return name, getattr(importlib.import_module(module), kind), tables


# ------------------------------------------------------------------------------------------ processes


@dataclass(frozen=True)
class Place:
    """Where this process trains: device, number, and how many processes there are."""

    device: torch.device
    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes and shows."""
        return self.rank == 0

    def largest(self, *values: float) -> list[float]:
        """The largest of every value over all processes."""
        if self.world == 1:
            return list(values)
        shared = torch.tensor(values, dtype=torch.float64, device=self.device)
        _all_reduce(shared, torch.distributed.ReduceOp.MAX)
        return list(map(float, shared))

    def average_gradients(self, network: nn.Module) -> None:
        """Replace the gradients by their mean over all processes.

        As torch's DistributedDataParallel does, which however does not allow for gradients of gradients.
        """
        if self.world > 1:
            gradients = [p.grad for p in network.parameters() if p.grad is not None]
            flat = torch.cat([gradient.flatten() for gradient in gradients])
            _all_reduce(flat, torch.distributed.ReduceOp.SUM)
            flat /= self.world
            for gradient, mean in zip(
                gradients, torch.split(flat, [g.numel() for g in gradients]), strict=True
            ):
                gradient.copy_(mean.view_as(gradient))


def _all_reduce(x: Tensor, by: Any) -> None:
    """Replace a tensor by its sum, or what else is asked for, over all processes."""
    try:
        torch.distributed.all_reduce(x, by)
    except RuntimeError as error:  # of connections, which the others have closed
        raise UserError(f"another process stopped: see its message ({str(error)[:100]})") from None


def ignore_signals() -> None:
    """From here on the process ends, whatever comes.

    A terminal sends Ctrl-C to every process, and torchrun sends it to them once more. If that cuts
    the end of a process group short, the process aborts (SIGABRT).
    """
    for number in (signal.SIGINT, *ENDING):
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def find_place(compute: str) -> Iterator[Place]:
    """The device asked for, and the other processes if ``torchrun`` started some.

    In one of several processes, signals are ignored from the end on: see `ignore_signals`.
    """
    if compute == "cuda" and not torch.cuda.is_available():
        raise UserError("--compute cuda: torch finds no CUDA device here; use --compute cpu")
    cuda = compute != "cpu" and torch.cuda.is_available()
    local = int(os.environ.get("LOCAL_RANK", "0"))
    device = torch.device("cuda", local) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")
    if "WORLD_SIZE" not in os.environ:
        yield Place(device)
        return
    torch.distributed.init_process_group("nccl" if cuda else "gloo")
    try:
        yield Place(device, torch.distributed.get_rank(), torch.distributed.get_world_size())
    finally:
        ignore_signals()
        torch.distributed.destroy_process_group()


# ------------------------------------------------------------------------------------------ checkpoints


def save_checkpoint(folder: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Write a checkpoint; the one before stays whole until this one is.

    Parameters
    ----------
    folder
        Of the run. Written: ``step-N.safetensors``, then ``checkpoint.json``, which names it and its hash.
    tensors
        Weights, running means, moments.
    state
        What else there is to remember; ``step`` among it.

    Raises
    ------
    FileError
        There is no room, say. Nothing of the checkpoint before is lost.
    """
    content = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    name = f"step-{state['step']}.safetensors"
    record = {"format": FORMAT, "tensors": name, "sha256": hashlib.sha256(content).hexdigest(), **state}
    try:
        appear(folder / name, lambda hidden: hidden.write_bytes(content))
        write_json(folder / "checkpoint.json", record)
    except OSError as error:
        raise FileError(f"cannot write a checkpoint to {folder}: {error.strerror}") from None
    for other in (*folder.glob("step-*.safetensors"), *folder.glob(".step-*.part")):
        if other.name != name:
            other.unlink(missing_ok=True)


def load_checkpoint(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `save_checkpoint` wrote.

    Raises
    ------
    FileError
        There is none, it is of another version, or its tensors are not those it was written with.
    """
    path = folder / "checkpoint.json"
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        if state["format"] != FORMAT:
            raise FileError(
                f"{path} has format {state['format']}, this version reads {FORMAT}: "
                "go on with the version that wrote it, or train anew in another folder"
            )
        tensors = folder / Path(state["tensors"]).name
        content = tensors.read_bytes()
        wanted = state["sha256"]
    except FileNotFoundError as error:
        raise FileError(f"{folder} holds no checkpoint: {Path(error.filename).name} is missing") from None
    except (ValueError, KeyError, TypeError) as error:
        raise FileError(f"{path} is no checkpoint: {type(error).__name__}: {error}") from None
    if hashlib.sha256(content).hexdigest() != wanted:
        raise FileError(f"{tensors} is not what {path.name} says: it was changed or cut short")
    return load(content), state


def pack(task: Task, mean: nn.Module) -> dict[str, Tensor]:
    """All tensors that training goes on from."""
    tensors = {f"mean.{name}": tensor for name, tensor in mean.state_dict().items()}
    for name, network in task.networks.items():
        tensors |= {f"network.{name}.{key}": tensor for key, tensor in network.state_dict().items()}
    for name, optimiser in task.optimisers.items():
        for index, moments in optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{name}.{index}.{key}": torch.as_tensor(m) for key, m in moments.items()}
    return tensors


def unpack(tensors: Mapping[str, Tensor], task: Task, mean: nn.Module) -> None:
    """The reverse of `pack`; `FileError` if the tensors are of other networks."""

    def under(prefix: str) -> dict[str, Tensor]:
        return {name.removeprefix(prefix): x for name, x in tensors.items() if name.startswith(prefix)}

    try:
        mean.load_state_dict(under("mean."))
        for name, network in task.networks.items():
            network.load_state_dict(under(f"network.{name}."))
        for name, optimiser in task.optimisers.items():
            moments: dict[int, dict[str, Tensor]] = {}
            for key, tensor in under(f"optimiser.{name}.").items():
                index, _, moment = key.partition(".")
                moments.setdefault(int(index), {})[moment] = tensor
            groups = optimiser.state_dict()["param_groups"]
            optimiser.load_state_dict({"state": moments, "param_groups": groups})
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[-1].strip()
        raise FileError(f"the checkpoint is of other networks than the configuration: {reason}") from None


# ------------------------------------------------------------------------------------------ the loop


class _Batches(Dataset[Any]):
    """Batches by step, or the `UserError` that prevents one (its traceback is of no use to anybody)."""

    def __init__(self, task: Task, size: int, place: Place) -> None:
        self._make, self._size, self._place = task.batch, size, place

    def __getitem__(self, step: int) -> Arrays | UserError:
        mine = self._size // self._place.world
        begin = step * self._size + self._place.rank * mine
        try:
            arrays = self._make(range(begin, begin + mine))
        except UserError as error:
            return error
        if not all(np.all(np.isfinite(array)) for array in arrays):
            return UserError(f"the batch of step {step} has values that are not finite: look at the data")
        return arrays


def _ignore_interrupts(worker: int) -> None:
    """Ctrl-C in a terminal reaches workers too: the batch that they make is still wanted."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@dataclass
class Progress:
    """How far a run is."""

    step: int = 0
    seconds: float = 0.0
    skipped: int = 0
    """Updates left out since their gradient was not finite."""
    history: list[list[float]] = field(default_factory=list)
    """Step, seconds and held-out loss of every validation."""


def rate_factor(training: Training, step: int, done: float) -> float:
    """What the learning rates are multiplied with.

    Parameters
    ----------
    training
        The schedule.
    step
        From 0; over the first ``rise`` steps the factor rises to 1.
    done
        Part of the budget, 0 to 1.
    """
    rise = min(1.0, (step + 1) / (training.rise + 1))
    if training.schedule == "constant":
        return rise
    return rise * (training.last + (1 - training.last) * 0.5 * (1 + math.cos(math.pi * min(done, 1.0))))


def mean_weight(training: Training, step: int) -> float:
    """Weight of the past in the running mean at a step: (1 + step) / (10 + step), at most ``mean``."""
    return min(training.mean, (1 + step) / (10 + step))


class Run:
    """A run in a folder.

    Parameters
    ----------
    task
        What is trained.
    training
        How.
    folder
        Holds the run.
    seed
        Of everything random.
    place
        Device and processes.
    minutes
        The budget, over all times that the run was resumed; None for ``training.steps``.
    """

    def __init__(
        self, task: Task, training: Training, folder: Path, seed: int, place: Place, minutes: float | None
    ) -> None:
        if training.batch % place.world:
            raise UserError(f"batch = {training.batch} over {place.world} processes: want a multiple")
        self.task, self.training, self.folder, self.seed = task, training, folder, seed
        self.place, self.seconds = place, None if minutes is None else 60 * minutes
        self.progress = Progress()
        self.rates: dict[str, float] = {}
        for name, network in task.networks.items():
            network.to(place.device)
            self.rates[name] = task.optimisers[name].param_groups[0]["lr"]
        self.mean = copy.deepcopy(task.networks[task.averaged]).requires_grad_(False)
        self._failed: Counter[str] = Counter()

    def resume(self) -> None:
        """Go on from the folder's checkpoint."""
        tensors, state = load_checkpoint(self.folder)
        unpack(tensors, self.task, self.mean)
        self.progress = Progress(**{field.name: state[field.name] for field in fields(Progress)})

    def save(self) -> None:
        """Write a checkpoint."""
        if self.place.first:
            save_checkpoint(self.folder, pack(self.task, self.mean), asdict(self.progress))

    @property
    def done(self) -> float:
        """Part of the budget that is used."""
        if self.seconds is not None:
            return self.progress.seconds / self.seconds
        return self.progress.step / self.training.steps

    def train(self, show: Callable[[float, str], None], board: Board) -> bool:
        """Train until the budget is used; True, or False if a signal ended it before.

        Parameters
        ----------
        show
            Called after every step with `done` and a line about the losses.
        board
            Where curves and sounds go.
        """
        training, progress, place = self.training, self.progress, self.place
        if self.done >= 1.0:
            return True
        stopped = False

        def stop(number: int, frame: Any) -> None:
            nonlocal stopped
            stopped = True

        budget = range(progress.step, 1 << 40 if self.seconds is not None else training.steps)
        batches = DataLoader(
            _Batches(self.task, training.batch, place),
            batch_size=None,
            sampler=budget,
            num_workers=training.workers,
            multiprocessing_context="spawn" if training.workers else None,
            worker_init_fn=_ignore_interrupts,
            pin_memory=place.device.type == "cuda",
        )
        # Without the cache, which would hold on to weights from before an update until the step ends.
        precision: AbstractContextManager[Any] = torch.autocast(
            place.device.type,
            torch.bfloat16,
            enabled=training.precision == "bfloat16",
            cache_enabled=False,
        )
        last = saved = time.monotonic()
        recent: dict[str, float] = {}
        with on_signals(stop, signal.SIGINT, *ENDING):
            for batch in batches:
                broken = isinstance(batch, UserError)
                if any(place.largest(float(broken))):
                    if progress.step:
                        self.save()
                    raise batch if broken else UserError("another process stopped: see its message")
                random = Uniform(self.seed, progress.step, place)
                factor = rate_factor(training, progress.step, self.done)
                for name, optimiser in self.task.optimisers.items():
                    for group in optimiser.param_groups:
                        group["lr"] = self.rates[name] * factor
                with precision, out_of_memory(training):
                    losses = self.task.train(
                        tuple(x.to(place.device, non_blocking=True) for x in batch), random, self._update
                    )
                self._average()
                progress.step += 1
                now = time.monotonic()
                ended, progress.seconds = place.largest(float(stopped), progress.seconds + now - last)
                last = now
                for name, value in losses.items():
                    if math.isfinite(value):  # what is not, is counted, and would be all that is shown
                        recent[name] = 0.95 * recent.get(name, value) + 0.05 * value
                over = self.done >= 1.0
                if progress.step % 10 == 0:
                    board.scalars(
                        {**{f"train/{k}": v for k, v in losses.items()}, "rate": factor}, progress.step
                    )
                if over or progress.step % training.validate == 0:
                    with out_of_memory(training):
                        self.validate(board)
                shown = ", ".join(f"{name} {value:.4g}" for name, value in recent.items())
                if progress.history:
                    shown += f", held out {progress.history[-1][2]:.4g}"
                show(self.done, f"step {progress.step}: {shown}")
                if over or ended or now - saved > training.checkpoint:
                    self.save()
                    saved = now
                if over or ended:
                    if place.world > 1:
                        ignore_signals()
                    return over
        return True

    def validate(self, board: Board) -> None:
        """Score the mean of the weights on what is held out."""
        self.mean.eval()
        with torch.no_grad():
            found = self.task.validate(self.mean, self.place.device)
        progress = self.progress
        if not math.isfinite(found.loss):
            raise UserError(
                f"the held-out loss is {found.loss} at step {progress.step}: lower the rates; the checkpoint "
                "before is kept"
            )
        progress.history.append([progress.step, round(progress.seconds, 1), found.loss])
        board.scalars({f"held out/{name}": value for name, value in found.scalars.items()}, progress.step)
        board.sounds(found, progress.step)

    def _update(self, name: str, loss: Tensor) -> None:
        network, optimiser = self.task.networks[name], self.task.optimisers[name]
        optimiser.zero_grad(set_to_none=True)
        inputs = list(network.parameters())
        loss.backward(inputs=inputs)  # type: ignore[no-untyped-call]
        self.place.average_gradients(network)
        norm = nn.utils.clip_grad_norm_(inputs, self.training.clip or math.inf)
        if torch.isfinite(norm):
            optimiser.step()
            self._failed[name] = 0
            return
        self.progress.skipped += 1
        self._failed[name] += 1
        if self._failed[name] == GIVE_UP:
            raise UserError(
                f"{GIVE_UP} updates in a row without a finite gradient of the {name}, the last one step "
                f"{self.progress.step}: lower its rate, or look at the data"
            )

    def _average(self) -> None:
        weight = mean_weight(self.training, self.progress.step)
        with torch.no_grad():
            trained = self.task.networks[self.task.averaged].state_dict()
            for name, tensor in self.mean.state_dict().items():
                if tensor.is_floating_point():
                    tensor.lerp_(trained[name], 1 - weight)
                else:
                    tensor.copy_(trained[name])


class Uniform:
    """Uniform numbers that follow from the seed, the step and the order of the calls.

    Every process draws those of the whole batch and keeps its part, so that the number of processes does not
    matter.
    """

    def __init__(self, seed: int, step: int, place: Place) -> None:
        digest = hashlib.sha256(f"{seed} {step}".encode()).digest()
        self._generator = torch.Generator(place.device).manual_seed(int.from_bytes(digest[:7], "little"))
        self._seed, self._place = seed, place

    def of(self, step: int) -> Uniform:
        """Those of another step."""
        return Uniform(self._seed, step, self._place)

    def __call__(self, batch: int, *shape: int) -> Tensor:
        """(batch, *shape), 0 to 1."""
        place = self._place
        whole = torch.rand((batch * place.world, *shape), generator=self._generator, device=place.device)
        return whole[place.rank * batch : (place.rank + 1) * batch]


@contextmanager
def out_of_memory(training: Training) -> Iterator[None]:
    """Say what to lower where a step does not fit into memory."""
    try:
        yield
    except RuntimeError as error:
        text = str(error)
        if isinstance(error, torch.OutOfMemoryError) or "allocate memory" in text or "out of memory" in text:
            raise UserError(
                f"out of memory with batch = {training.batch}: lower that, or make the network smaller"
            ) from None
        raise


class Board:
    """TensorBoard's files, of the first process; nothing with None."""

    def __init__(self, folder: Path | None, step: int) -> None:
        self._writer: Any = None
        if folder is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(folder), purge_step=step)

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Points of curves."""
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)

    def sounds(self, found: Validation, step: int) -> None:
        """Sounds and their spectrograms, 80 dB from black to white."""
        if self._writer is not None:
            for name, x in found.audio.items():
                self._writer.add_audio(name, torch.from_numpy(np.clip(x, -1, 1)), step, found.rate)
                self._writer.add_image(name, spectrogram(x), step, dataformats="HW")

    def close(self) -> None:
        """Write what is left."""
        if self._writer is not None:
            self._writer.close()


def spectrogram(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """A picture (257 frequencies, the highest first; frames), 0 to 1, of (samples,)."""
    from scipy.signal import stft

    _, _, bins = stft(x, window="hann", nperseg=512, noverlap=384)
    level = 20 * np.log10(np.abs(bins[::-1]) + 1e-9)
    picture: NDArray[np.float32] = np.clip((level - level.max()) / 80 + 1, 0, 1).astype(np.float32)
    return picture


# ------------------------------------------------------------------------------------------ the command


def command(commands: Any) -> None:
    """Add ``train`` to a command line."""
    parser = commands.add_parser(
        "train",
        help="train a network",
        description="Train what CONFIG says, in the folder RUN. Ctrl-C ends it with a checkpoint; with "
        "--resume the same command goes on from there. torchrun -m export train ... uses several GPUs.",
    )
    parser.add_argument("config", type=Path, metavar="CONFIG", help="a TOML file, as in export/configs/")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="RUN", help="folder of the run (runs/ and the name of CONFIG)"
    )
    parser.add_argument(
        "--minutes", type=float, metavar="M",
        help="of training and validation in all, in place of the steps of CONFIG: the learning rate ends "
        "there; start-up and the last checkpoint come on top",
    )  # fmt: skip
    parser.add_argument("--compute", choices=("auto", "cpu", "cuda"), default="auto", help="where (auto)")
    parser.add_argument(
        "--from", dest="start", type=Path, nargs="+", metavar="RUN",
        help="begin with the weights of another run of these networks; of several, with their mean",
    )  # fmt: skip
    parser.add_argument(
        "--resume", action="store_true", help="go on from the run's checkpoint, if it has one"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Train; the status is 0, or 130 if a signal ended it."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.table import Column

    if options.minutes is not None and not 0 < options.minutes < math.inf:
        raise UserError(f"--minutes {options.minutes}: give a positive number")
    name, kind, tables = open_task(options.config)
    settings = typed(tables, kind.settings_type, str(options.config))
    if settings.seed < 0:
        raise UserError(f"{options.config}: seed = {settings.seed}: want 0 or more")
    folder = options.output or Path("runs") / options.config.stem
    with ExitStack() as stack:
        place = stack.enter_context(find_place(options.compute))
        torch.manual_seed(settings.seed)
        task: Task = kind(settings)
        start = {} if options.start is None else {"start": begin_with(options.start, task)}
        run_ = Run(task, settings.training, folder, settings.seed, place, options.minutes)
        budget = "" if options.minutes is None else f" --minutes {options.minutes:g}"
        budget += "" if options.start is None else f" --from {' '.join(run.name for run in options.start)}"
        record = {
            "task": name,
            "command": f"python -m export train {options.config.name}{budget}",
            "settings": asdict(settings),
            "data": task.open_data(),
            **start,
        }
        open_run(run_, folder, record, options.resume)
        board = Board(folder if place.first else None, run_.progress.step)
        stack.callback(board.close)
        columns = (
            BarColumn(20),
            TextColumn("{task.percentage:3.0f} %"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.description}", table_column=Column(ratio=1, overflow="ellipsis", no_wrap=True)),
        )
        console = Console(stderr=True, emoji=False, markup=False, highlight=False)
        shows = place.first and on_terminal()
        bar = stack.enter_context(Progress(*columns, console=console, expand=True, disable=not shows))
        shown = bar.add_task(f"on {place.device}", total=1.0)
        bar.update(shown, completed=run_.done)
        progress = run_.progress
        validations = len(progress.history)

        def show(done: float, line: str) -> None:
            nonlocal validations
            bar.update(shown, completed=done, description=line)
            if len(progress.history) > validations and place.first and not shows:
                console.print(f"{100 * done:.0f} %, {line}", soft_wrap=True)
            validations = len(progress.history)

        whole = run_.train(show, board)
        if place.first:
            if progress.skipped:
                console.print(f"{progress.skipped} updates left out, whose gradient was not finite")
            console.print(
                f"{folder}: step {progress.step}, {progress.seconds / 60:.1f} min of training"
                + ("" if whole else "; --resume goes on from here"),
                soft_wrap=True,
            )
    return 0 if whole else 130


def begin_with(folders: Sequence[Path], task: Task) -> list[dict[str, Any]]:
    """Give a task the weights of runs, the mean where there is one; says of which, and what those began with.

    Of several runs the averaged network gets the mean ("Model soups", M. Wortsman et al., ICML 2022); the
    others get the first run's.

    Raises
    ------
    FileError
        There is no such run, or it is of other networks.
    """
    runs, averaged = [], []
    for folder in reversed(folders):  # The first is loaded last, and stays.
        record = read_record(folder)
        tensors, state = load_checkpoint(folder)
        begun = {"start": record["start"]} if "start" in record else {}
        taken = {"sha256": state["sha256"], "step": state["step"], "seconds": round(state["seconds"])}
        runs.append({"command": record["command"], **taken, **begun})
        for name, network in task.networks.items():
            prefix = "mean." if name == task.averaged else f"network.{name}."
            weights = {key.removeprefix(prefix): x for key, x in tensors.items() if key.startswith(prefix)}
            try:
                network.load_state_dict(weights)
            except RuntimeError as error:
                reason = str(error).splitlines()[-1].strip()
                raise FileError(f"{folder} is of other networks than the configuration: {reason}") from None
            if name == task.averaged:
                averaged.append(weights)
    if any(each.keys() != averaged[0].keys() for each in averaged):
        named = ", ".join(map(str, folders))
        raise FileError(f"{named} are of other networks than each other: their weights have no mean")
    task.networks[task.averaged].load_state_dict(mean_of(averaged))
    return runs[::-1]


def mean_of(weights: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of the weights of networks of one shape; what is no number with a fraction is the last's."""
    return {
        name: sum((each[name] for each in weights[1:]), weights[0][name]) / len(weights)
        if x.is_floating_point()
        else x
        for name, x in weights[-1].items()
    }


def open_run(run_: Run, folder: Path, record: Mapping[str, Any], resume: bool) -> None:
    """Begin a run in its folder, or go on with the one that is there.

    Raises
    ------
    UserError
        There is one already and ``resume`` is not asked for; or it has other settings.
    """
    path = folder / "run.json"
    if (folder / "checkpoint.json").exists():
        if not resume:
            raise UserError(f"{folder} holds a run: go on with --resume, or name another folder with -o")
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
            # What is newer than the run has its default.
            settings = typed(before["settings"], run_.task.settings_type, str(path))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise FileError(f"{path} is not the record of a run: {type(error).__name__}: {error}") from None
        before["settings"] = json.loads(json.dumps(asdict(settings)))
        if change := difference(before, json.loads(json.dumps(record))):
            raise UserError(f"{folder} is a run with another {change}: name another folder with -o")
        run_.resume()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if run_.place.first:
            write_json(path, record)
    except OSError as error:
        raise FileError(f"{folder}: {error.strerror}; name another folder with -o") from None


FREE = {"command", "clips", "steps", "validate", "checkpoint", "workers"}
"""What may change when a run is resumed."""


def difference(before: Any, now: Any, where: str = "") -> str | None:
    """The first place in which two records differ, and how."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in [*before, *(key for key in now if key not in before)]:
            if key not in FREE and (
                found := difference(before.get(key), now.get(key), f"{where}.{key}".lstrip("."))
            ):
                return found
        return None
    return None if before == now else f"{where} ({str(before)[:60]}, now {str(now)[:60]})"


def read_record(folder: Path) -> dict[str, Any]:
    """What a run says of itself: ``task``, ``command``, ``settings``, ``data``; with ``--from`` ``start``."""
    path = folder / "run.json"
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        missing = {"task", "command", "settings", "data"} - record.keys()
        if missing:
            raise KeyError(", ".join(sorted(missing)))
        if record["task"] not in TASKS:
            raise KeyError(record["task"])
    except FileNotFoundError:
        raise FileError(f"{folder} is no run: it has no {path.name}") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise FileError(f"{path} is not the record of a run: {type(error).__name__}: {error}") from None
    return record


def read_run(folder: Path) -> tuple[Task, nn.Module, dict[str, Any]]:
    """A run that was trained.

    Returns
    -------
    Its task, without data; the network with the mean of the weights; and the record, `read_record`, with
    ``step``, ``seconds`` and ``skipped``.
    """
    record = read_record(folder)
    module, _, kind_name = TASKS[record["task"]].partition(":")
    kind = getattr(importlib.import_module(module), kind_name)
    settings = typed(record["settings"], kind.settings_type, str(folder / "run.json"))
    tensors, state = load_checkpoint(folder)
    task: Task = kind(settings)
    network = task.networks[task.averaged]
    weights = {name.removeprefix("mean."): x for name, x in tensors.items() if name.startswith("mean.")}
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise FileError(f"{folder}: the checkpoint is of another network: {reason}") from None
    return task, network.eval(), {**record, **{name: state[name] for name in ("step", "seconds", "skipped")}}
