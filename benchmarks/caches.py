"""What step caches cost: ours, diffusers' FBCache, cache-dit's DBCache and none, in turns on the same model.

    python -m benchmarks.caches [--device cuda] [--full-size] [--repeats 7] [--out benchmarks/results/caches.jsonl]

Weights are random, as in `benchmarks.pipeline`. Which steps are reused is forced by one schedule for all: each side
still takes its signal, measures its distance and waits for it, and only the answer is not asked for. So equal decisions
are compared, and none depends on the weights. Every side gets the same loop around it. Seconds are those of the device,
on a CPU those of one thread, so that other work on the machine hardly counts. cache-dit is left out where it is not
installed. Prints a table and appends one JSON line for each figure.
"""

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from diffusers.hooks.first_block_cache import FirstBlockCacheConfig

from accel.cache.gate import Gate
from accel.cache.plan import CacheName, CachePlan
from accel.cache.report import Branch
from accel.cache.session import CacheSession, Forward
from accel.cache.strategies.base import Strategy
from accel.cache.strategies.dbcache import DBCache
from accel.cache.strategies.table import STRATEGIES
from benchmarks.command import Command, installed
from benchmarks.pipeline import FULL, NEGATIVE_TOKENS, PROMPT_TOKENS, SCALE, SEED, SMALL, Bench, Size
from pipelines.latents import grid, noise
from pipelines.sampling.guidance import apply_cfg

SCHEDULE = "CCCRRCRRCRCC"  # computed and reused steps: about what the wire's defaults make of a good picture
STEPS = len(SCHEDULE)
COMPUTED = frozenset(step for step, letter in enumerate(SCHEDULE) if letter == "C")
# So near to each other that the distances of random weights stay below 1, above which cache-dit reuses nothing.
SIGMAS = [0.5 - 1e-4 * step for step in range(STEPS + 1)]
# Deep enough for a share of 1 / N to be small, and wide enough for blocks to outweigh what Python does between them.
SMALL_DEPTH = 12
_SMALL = {
    "num_layers": SMALL_DEPTH,
    "attention_head_dim": 32,
    "num_attention_heads": 8,
    "joint_attention_dim": 128,
    "axes_dims_rope": (8, 12, 12),
}

Figures = dict[str, Any]
# the velocity of a sample at a sigma, in a step
Ask = Callable[[torch.Tensor, float, int], torch.Tensor]


@dataclass(frozen=True)
class Lab:
    """A model and one request of it, with guidance."""

    bench: Bench
    side: int
    prompts: dict[Branch, torch.Tensor]

    @classmethod
    def build(cls, size: Size, device: torch.device) -> "Lab":
        """With random weights."""
        bench, side = Bench.build(size, device), size.cases[0].side
        prompts: dict[Branch, torch.Tensor] = {
            "cond": bench.embeddings(1, PROMPT_TOKENS),
            "uncond": bench.embeddings(2, NEGATIVE_TOKENS),
        }
        return cls(bench, side, prompts)

    @property
    def transformer(self) -> Any:
        """The one that all sides run."""
        return self.bench.checkpoint.transformer

    @property
    def depth(self) -> int:
        """Its blocks."""
        return len(self.transformer.transformer_blocks)

    def noise(self) -> torch.Tensor:
        """What each run starts from."""
        drawn = noise(grid(self.side, self.side, self.bench.checkpoint.vae), 16, SEED)
        return drawn.to(self.bench.checkpoint.device, self.bench.checkpoint.dtype)

    def plain(self, sample: torch.Tensor, sigma: float, step: int, *, context: bool = False) -> torch.Tensor:
        """The transformer as it is, or as a library has changed it; `context` names the branch to diffusers' caches."""
        velocities = []
        for branch, embeds in self.prompts.items():
            ask = partial(
                self.transformer,
                hidden_states=sample,
                timestep=torch.full((1,), sigma, device=sample.device, dtype=sample.dtype),
                encoder_hidden_states=embeds,
                encoder_hidden_states_mask=None,
                img_shapes=[[grid(self.side, self.side, self.bench.checkpoint.vae)]],
                return_dict=False,
            )
            if context:
                with self.transformer.cache_context(branch):
                    velocities.append(ask()[0])
            else:
                velocities.append(ask()[0])
        return apply_cfg(velocities[0], velocities[1], SCALE)

    def cached(self, session: CacheSession) -> Ask:
        """The transformer through a session of ours."""

        def ask(sample: torch.Tensor, sigma: float, step: int) -> torch.Tensor:
            cond, uncond = session.evaluate(
                self.transformer,
                tokens=sample,
                timestep=torch.full((1,), sigma, device=sample.device, dtype=sample.dtype),
                shapes=[grid(self.side, self.side, self.bench.checkpoint.vae)],
                forwards=[Forward(branch, embeds) for branch, embeds in self.prompts.items()],
                step=step,
            )
            return apply_cfg(cond, uncond, SCALE)

        return ask

    def timed(self, ask: Ask, sample: torch.Tensor, step: int) -> tuple[float, torch.Tensor]:
        """Seconds of one step, the device's queue included, and what comes of it."""
        sigma, sigma_next = SIGMAS[step], SIGMAS[step + 1]
        clock = time.perf_counter if sample.device.type == "cuda" else time.process_time
        started = clock()
        with torch.inference_mode():
            moved = sample + ask(sample, sigma, step) * (sigma_next - sigma)
        if moved.device.type == "cuda":
            torch.cuda.synchronize(moved.device)
        return clock() - started, moved

    def run(self, ask: Ask) -> list[float]:
        """Seconds of each step of a whole loop."""
        sample, seconds = self.noise(), []
        for step in range(STEPS):
            taken, sample = self.timed(ask, sample, step)
            seconds.append(taken)
        return seconds


def forced(name: CacheName, strategy: Strategy, *, reuse: bool = True) -> CacheSession:
    """A session that reuses the schedule's steps, or none."""
    gate = Gate(STEPS, 0, STEPS if reuse else 0, STEPS, COMPUTED if reuse else frozenset())
    return CacheSession(name, strategy, gate, SIGMAS)


def with_ours(lab: Lab, name: CacheName, strategy: Strategy) -> list[float]:
    """A run with a session of ours."""
    session = forced(name, strategy)
    seconds = lab.run(lab.cached(session))
    agree(session.report().patterns)
    return seconds


def with_diffusers(lab: Lab) -> list[float]:
    """A run with diffusers' first block cache."""
    lab.transformer.enable_cache(FirstBlockCacheConfig(threshold=math.inf))
    hook = lab.transformer.transformer_blocks[0]._diffusers_hook.get_hook("fbc_leader_block_hook")
    decide, patterns = hook._should_compute_remaining_blocks, dict[str, str]()

    def scheduled(residual: torch.Tensor) -> bool:
        decide(residual)
        branch = hook.state_manager.context.name
        letter = SCHEDULE[len(patterns.get(branch, ""))]
        patterns[branch] = patterns.get(branch, "") + letter
        return letter == "C"

    hook._should_compute_remaining_blocks = scheduled
    try:
        seconds = lab.run(partial(lab.plain, context=True))
    finally:
        lab.transformer.disable_cache()
    agree(patterns)
    return seconds


def with_cache_dit(lab: Lab, front: int) -> list[float]:
    """A run with cache-dit's DBCache of so many first blocks and no last ones."""
    import cache_dit  # pyright: ignore[reportMissingImports]

    cache_dit.enable_cache(
        lab.transformer,
        cache_config=cache_dit.DBCacheConfig(
            Fn_compute_blocks=front,
            Bn_compute_blocks=0,
            # Below 1, where it would no longer measure.
            residual_diff_threshold=1 - 1e-6,
            max_warmup_steps=0,
            enable_separate_cfg=True,
            num_inference_steps=STEPS,
            steps_computation_mask=[int(letter == "C") for letter in SCHEDULE],
            steps_computation_policy="dynamic",
        ),
    )
    try:
        seconds = lab.run(lab.plain)
        told = cache_dit.summary(lab.transformer, logging=False)[0]
    finally:
        cache_dit.disable_cache(lab.transformer)
    reused = {"cond": told.cached_steps, "uncond": told.cfg_cached_steps}
    agree({name: "".join("R" if step in steps else "C" for step in range(STEPS)) for name, steps in reused.items()})
    return seconds


def agree(patterns: dict[str, str]) -> None:
    """Stop where a side did not do what it was told: its times would mean something else."""
    if set(patterns.values()) != {SCHEDULE}:
        raise SystemExit(f"decisions {patterns} instead of {SCHEDULE}")


def overhead(lab: Lab, repeats: int) -> Figures:
    """Steps of a session that reuses nothing over steps without one, each pair timed one right after the other."""
    ratios = []
    for number in range(repeats):
        session = forced("fbcache", DBCache(0.0, front=1), reuse=False)
        sides: list[Ask] = [lab.plain, lab.cached(session)]
        samples = [lab.noise(), lab.noise()]
        for step in range(STEPS):
            found = [0.0, 0.0]
            for side in (0, 1) if (number + step) % 2 else (1, 0):
                found[side], samples[side] = lab.timed(sides[side], samples[side], step)
            if number:  # the first run warms up
                ratios.append(found[1] / found[0])
        if not torch.equal(*samples):
            raise SystemExit("a session that reuses nothing gave another result")
    quartiles = statistics.quantiles(ratios, n=4)
    return {"lower quartile": quartiles[0], "median": quartiles[1], "upper quartile": quartiles[2]}


def compare(lab: Lab, sides: dict[str, Callable[[], list[float]]], repeats: int) -> dict[str, Figures]:
    """Seconds of each side's computed and reused steps, and of its neighbour in time that has no cache."""
    rounds: list[dict[str, list[float]]] = []
    for number in range(repeats + 1):
        order = list(sides) if number % 2 else list(sides)[::-1]
        rounds.append({name: sides[name]() for name in ("uncached", *order)})
    rounds = rounds[1:]  # the first warms up

    def median(name: str, letter: str) -> float:
        return statistics.median(
            taken[name][step] for taken in rounds for step in range(STEPS) if SCHEDULE[step] == letter
        )

    def loops(name: str, other: str) -> float:
        return statistics.median(sum(taken[name]) / sum(taken[other]) for taken in rounds)

    ours = next(name for name in sides if name.startswith("ours"))
    return {
        name: {
            "computed step": median(name, "C"),
            "reused step": median(name, "R"),
            "reused over uncached": median(name, "R") / median("uncached", "C"),
            "loop over uncached": loops(name, "uncached"),
            "ours over it": loops(ours, name),
        }
        for name in sides
    }


def strategy_of(name: CacheName, lab: Lab) -> Strategy:
    """With a threshold that nothing reaches."""
    plan = CachePlan(name, math.inf, 0, STEPS, STEPS, profile="qwen_image")
    made: Any = STRATEGIES[name](plan, STEPS, lab.depth)
    return made


def main() -> None:
    """Run from the command line."""
    command = Command.parse("caches", __doc__)
    torch.set_num_threads(1)
    lab = Lab.build(FULL if command.full_size else replace(SMALL, transformer=_SMALL), command.device)
    place = {"blocks": lab.depth, "side": lab.side, "schedule": SCHEDULE}
    print(f"{lab.depth} blocks, {lab.side}², steps {SCHEDULE}; seconds")

    def report(name: str, figures: Figures) -> None:
        figures = {key: float(f"{value:.4g}") for key, value in figures.items()}
        print(f"{name:<34}" + "  ".join(f"{key} {value:g}" for key, value in figures.items()), flush=True)
        command.record({"figure": name, **figures, **place}, ("torch", "diffusers", "cache-dit"))

    report("nothing reused, over no session", overhead(lab, command.repeats + 1))
    front = max(2, round(8 / 60 * lab.depth))
    first: dict[str, Callable[[], list[float]]] = {
        "uncached": lambda: lab.run(lab.plain),
        "ours, first block": lambda: with_ours(lab, "fbcache", DBCache(math.inf, front=1)),
        "diffusers, first block": lambda: with_diffusers(lab),
    }
    several: dict[str, Callable[[], list[float]]] = {
        "uncached": first["uncached"],
        f"ours, {front} blocks": lambda: with_ours(lab, "dbcache", DBCache(math.inf, front=front)),
    }
    if installed("cache-dit"):
        first["cache-dit, first block"] = lambda: with_cache_dit(lab, 1)
        several[f"cache-dit, {front} blocks"] = lambda: with_cache_dit(lab, front)
    for sides in (first, several):
        for name, figures in compare(lab, sides, command.repeats).items():
            report(name, figures)
    others: list[CacheName] = [name for name in STRATEGIES if name not in ("fbcache", "dbcache")]
    sides = {"uncached": first["uncached"]}
    sides |= {f"ours, {name}": partial(with_ours, lab, name, strategy_of(name, lab)) for name in others}
    for name, figures in compare(lab, sides, command.repeats).items():
        figures.pop("ours over it")
        report(name, figures)


if __name__ == "__main__":
    main()
