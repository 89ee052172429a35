"""Trains transformer and text encoder for some minutes on one device, from a checkpoint that is grown first.

Saves each minute and resumes where it was. Other processes draw samples, and the device pictures and encodes them, so
it does not wait. Knows the models and the timetable; knows no scene.
"""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl_qwenimage import AutoencoderKLQwenImage
from diffusers.models.transformers.transformer_qwenimage import QwenImageTransformer2DModel
from tqdm import tqdm
from transformers import Qwen2_5_VLForConditionalGeneration, Qwen2Tokenizer

from accel.weights.single_frame import SingleFrameVae
from training.samples.drafts import Draft, DraftOrder, DraftWorkers, default_processes, make_draft
from training.samples.encode import DraftEncoder
from training.timed.growth import grow
from training.timed.loss import batch_losses
from training.timed.timetable import HOLD, TAIL, World, order, sample_tokens
from training.trainers.joint import LAYOUT_WEIGHT, JointModel, by_adam, copy_weights, export, trained_steps
from training.trainers.optimizer import Average, Optimizer, trapezoid
from training.trainers.vae import save_atomically

RUN = "timed-run.pt"
LOG = "timed-log.jsonl"  # the losses over time, one line for each save
SNAPSHOTS = "snapshots"  # a checkpoint for each fifth of the time, to draw curves of scores
CURVE = "curve.json"  # their scores
_AVERAGED = 500  # steps of the tail
_WARM_UP = 100  # steps, after the start: the optimisers know no gradients yet
# Steps in which the new layout head learns alone. After 100 its loss was 6, and undid what the blocks had learnt.
_HEAD_ALONE = 500
_MUON_RATE, _ADAM_RATE = 0.012, 1.5e-3
_MEMORY = 0.7  # share of the free memory that a batch may fill
_PROBE = DraftOrder(0, "edit", (16, 16), 8)  # the batch that memory is measured by
_CPU_TOKENS = 8192  # in a batch
_COUNTS = ("step", "samples", "averaged", "seconds")
_PARTS_OF_TIME = 5


@dataclass(frozen=True, slots=True)
class TimedBudget:
    """The length of the training in minutes, blocks of the transformer, most samples of a batch, and helpers.

    `processes` draw samples; None chooses by the device. `rate` is the share of the full learning rate, less for a
    training too short to learn anything new. `save_every` is in seconds.
    """

    minutes: float
    layers: int = 12
    batch: int = 512
    compiled: bool = False
    processes: int | None = None
    world: World = field(default_factory=World)
    rate: float = 1.0
    save_every: float = 60.0


class TimedRun:
    """One training: the models, the optimiser, the average of the tail, and how far all are."""

    def __init__(self, device: torch.device, folder: Path, budget: TimedBudget, seed: int) -> None:
        torch.manual_seed(seed)
        self._folder, self._seed = folder, seed
        self._world = budget.world
        self._tokenizer = Qwen2Tokenizer.from_pretrained(folder, subfolder="tokenizer")
        self._device = device
        self.model = load_grown(folder, self._tokenizer, budget.layers).to(device)
        self._optimizer = Optimizer(
            self.model, muon_rate=budget.rate * _MUON_RATE, adam_rate=budget.rate * _ADAM_RATE, by_adam=by_adam
        )
        self._average = Average(self.model, _AVERAGED)
        vae = AutoencoderKLQwenImage.from_pretrained(folder, subfolder="vae", torch_dtype=torch.float32)
        self._encoder = DraftEncoder(SingleFrameVae(vae).to(device), self.model.encoder, device)
        self.step = self.samples = self.averaged = 0
        self.seconds = 0.0
        self._before = trained_steps(folder)  # steps of the checkpoint that the run started from
        self._losses: list[torch.Tensor] = []
        if (folder / RUN).is_file():
            self._resume(torch.load(folder / RUN, map_location=device))

    def fitting_tokens(self) -> int:
        """Return how many tokens of a batch fit into the free memory of a GPU, measured by a small batch."""
        if self._device.type != "cuda":
            return _CPU_TOKENS
        draft = make_draft(_PROBE, self._seed, self._tokenizer)
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
        self._backward(draft)
        used = torch.cuda.max_memory_allocated() - held
        self.model.zero_grad(set_to_none=True)
        torch.cuda.empty_cache()
        by_token = used / (_PROBE.count * sample_tokens(_PROBE.task, _PROBE.grid))
        return int(_MEMORY * torch.cuda.mem_get_info()[0] / by_token)

    def compile(self) -> None:
        """Compile the blocks, which share one form for each number of references. Without a compiler, say so."""
        torch._dynamo.config.recompile_limit = 64
        blocks = self.model.transformer.transformer_blocks
        for block in blocks:
            block.compile(dynamic=True)
        try:
            self._backward(make_draft(_PROBE, self._seed, self._tokenizer))
        except Exception as error:  # noqa: BLE001  # whatever the compiler lacks, minutes on a card are too few to stop
            tqdm.write(f"The blocks are not compiled: {type(error).__name__}: {str(error).splitlines()[0]}")
            for block in blocks:
                block._compiled_call_impl = None
        self.model.zero_grad(set_to_none=True)

    def train(self, draft: Draft, share: float) -> None:
        """Do one step at a share of the time. The same state, draft and share give the same weights."""
        torch.manual_seed(self._seed * 1_000_003 + self.step)
        self._losses.append(self._backward(draft))
        torch.nn.utils.clip_grad_norm_(self._optimizer.parameters, 1.0)
        self._optimizer.step(trapezoid(share, warmup=0.0, hold=HOLD) * min(1.0, (self.step + 1) / _WARM_UP))
        self.step += 1
        self.samples += draft.order.count
        if share >= TAIL:
            self._average.update(self.model, self.averaged)
            self.averaged += 1

    def save(self, share: float) -> str:
        """Save the run and the checkpoint, log the mean losses since the last time, and return them as text."""
        flow, layout = torch.stack(self._losses).mean(dim=0).tolist()
        self._losses = []
        counts = {name: getattr(self, name) for name in _COUNTS}
        parts = {"model": self.model, "average": self._average.model, "optimizer": self._optimizer}
        state = {name: part.state_dict() for name, part in parts.items()}
        save_atomically(self._folder / RUN, {**state, **counts, "before": self._before})
        with (self._folder / LOG).open("a") as log:
            log.write(json.dumps({**counts, "flow": round(flow, 4), "layout": round(layout, 4)}) + "\n")
        best = self._average.model if self.averaged else self.model
        facts = {"samples": self.samples, "area": self._world.side**2}
        export(best, self._folder, self._before + self.step, self._world.texts, **facts)
        keep_snapshot(self._folder, share)
        return f"{self.samples} samples, flow {flow:.3f} layout {layout:.3f}"

    def _backward(self, draft: Draft) -> torch.Tensor:
        batch = self._encoder.encode(draft)  # in full precision: it is what is learnt
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._device.type == "cuda"):
            flow, layout = batch_losses(self.model, batch, head_alone=self.step < _HEAD_ALONE)
        (flow + LAYOUT_WEIGHT * layout).backward()
        return torch.stack((flow.detach(), layout.detach()))

    def _resume(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self._average.model.load_state_dict(state["average"])
        self._optimizer.load_state_dict(state["optimizer"])
        for name in _COUNTS:
            setattr(self, name, state[name])
        self._before = state["before"]


def clock_of(device: str) -> Callable[[], float]:
    """Return a clock in seconds. That of a CPU stands still while other programs have it, or this one is stopped."""
    if device == "cpu":
        return lambda: time.process_time() / torch.get_num_threads()
    return time.monotonic


def train_timed(
    device: torch.device, folder: Path, budget: TimedBudget, seed: int, clock: Callable[[], float] | None = None
) -> None:
    """Train, or resume from `folder/timed-run.pt`. Saves the checkpoint into `folder` in the diffusers layout."""
    clock = clock or clock_of(device.type)
    begun, whole = clock(), 60 * budget.minutes
    processes = default_processes(device.type) if budget.processes is None else budget.processes
    # The processes start while the models are loaded.
    with closing(DraftWorkers(folder, seed, processes)) as workers, tqdm(total=round(whole), unit="s") as bar:
        run = TimedRun(device, folder, budget, seed)
        if run.seconds >= whole:
            return
        begun, saved = begun - run.seconds, run.seconds
        tokens = run.fitting_tokens()
        if budget.compiled:
            run.compile()

        def orders() -> Iterator[DraftOrder]:
            for number in count(run.step):
                yield order(number, run.seconds / whole, seed, budget.batch, tokens, budget.world)

        for draft in workers.drafts(orders()):
            run.train(draft, run.seconds / whole)
            run.seconds = clock() - begun
            done = run.seconds >= whole
            if done or run.seconds - saved >= budget.save_every:
                saved = run.seconds
                bar.set_postfix_str(run.save(run.seconds / whole))
                bar.update(round(min(saved, whole)) - bar.n)
            if done:
                break


def load_grown(folder: Path, tokenizer: Qwen2Tokenizer, layers: int) -> JointModel:
    """Load the exported checkpoint in a folder, grown to a number of blocks. The layout head is new."""
    model = JointModel(tokenizer, layers)
    kinds: dict[str, Any] = {
        "transformer": QwenImageTransformer2DModel,
        "text_encoder": Qwen2_5_VLForConditionalGeneration,
    }
    transformer, encoder = (
        kind.from_pretrained(folder, subfolder=part, torch_dtype=torch.float32) for part, kind in kinds.items()
    )
    model.transformer.load_state_dict(grow(transformer, layers).state_dict())
    model.encoder.load_state_dict(encoder.state_dict())
    return model


def keep_snapshot(folder: Path, share: float) -> None:
    """Copy the checkpoint to `folder/snapshots/N`, the first time that N fifths of the time are over."""
    fifths = int(min(share, 1.0) * _PARTS_OF_TIME)
    target = folder / SNAPSHOTS / str(fifths)
    if target.is_dir() or not fifths:
        return
    draft = target.with_suffix(".part")
    shutil.rmtree(draft, ignore_errors=True)
    copy_weights(folder, draft)
    draft.replace(target)
