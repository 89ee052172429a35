"""Inputs of one evaluation for a random transformer of five blocks, and what the transformer itself makes of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from accel.block_runner import RESIDENT, BlockRunner, WeightAccess
from accel.cache.curves import Polynomial
from accel.cache.evaluation import Evaluation, Forward
from accel.cache.gate import Gate
from accel.cache.report import Branch
from accel.cache.session import CacheSession
from accel.cache.strategies.base import Strategy

DEPTH, WIDTH = 5, 32
NOISE_TOKENS, REFERENCE_TOKENS, WORDS = 12, 6, 6
SHAPES = [(1, 3, 4), (1, 2, 3)]
IDENTITY = Polynomial((1.0, 0.0), 1e9)
OPEN_GATE = Gate(total=100, start=0, end=100, max_run=100)


def random_tensor(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@dataclass(frozen=True)
class Inputs:
    """What the transformer is called with in one evaluation."""

    tokens: torch.Tensor
    time: float
    shapes: Sequence[tuple[int, int, int]]
    residuals: list[torch.Tensor] | None = None

    def embeds(self, branch: Branch) -> torch.Tensor:
        return random_tensor(1, WORDS, WIDTH, seed=1 if branch == "cond" else 2)

    def runner(self, transformer: Any, branch: Branch = "cond") -> BlockRunner:
        time, embeds = torch.tensor([self.time]), self.embeds(branch)
        return BlockRunner(transformer, self.tokens, time, embeds, self.shapes, lambda: self.residuals)


def make_inputs(time: float = 0.5, *, moved: float = 0.0, references: bool = False, controls: int = 0) -> Inputs:
    """The noise tokens change with `moved`, the reference tokens never."""
    tokens = random_tensor(1, NOISE_TOKENS, 64, seed=3) + moved * random_tensor(1, NOISE_TOKENS, 64, seed=4)
    if references:
        tokens = torch.cat([tokens, random_tensor(1, REFERENCE_TOKENS, 64, seed=5)], dim=1)
    residuals = [random_tensor(1, tokens.shape[1], WIDTH, seed=10 + number) for number in range(controls)]
    return Inputs(tokens, time, SHAPES if references else SHAPES[:1], residuals or None)


def full_forward(transformer: Any, inputs: Inputs, branch: Branch = "cond") -> torch.Tensor:
    """The transformer's own forward, [1, noise tokens, channels]."""
    with torch.inference_mode():
        output = transformer(
            hidden_states=inputs.tokens,
            timestep=torch.tensor([inputs.time]),
            encoder_hidden_states=inputs.embeds(branch),
            encoder_hidden_states_mask=None,
            img_shapes=[inputs.shapes],
            controlnet_block_samples=inputs.residuals,
            return_dict=False,
        )[0]
    return output[:, :NOISE_TOKENS]


def make_session(strategy: Strategy, gate: Gate = OPEN_GATE) -> CacheSession:
    return CacheSession("dbcache", strategy, gate)


def evaluate(
    session: CacheSession,
    transformer: Any,
    inputs: Inputs,
    step: int,
    *branches: Branch,
    controls: Any = None,
    weights: WeightAccess = RESIDENT,
) -> list[torch.Tensor]:
    """The outputs of a session, by default for the branch with the prompt."""
    forwards = [Forward(branch, inputs.embeds(branch), lambda: inputs.residuals) for branch in branches or ("cond",)]
    with torch.inference_mode():
        timestep = torch.tensor([inputs.time])
        return session.evaluate(
            Evaluation(transformer, inputs.tokens, timestep, inputs.shapes, forwards, step, controls, weights)
        )


def reasons(session: CacheSession) -> list[str]:
    return [decision.reason for decision in session.report().decisions]
