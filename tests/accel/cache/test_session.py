"""Sessions over a random transformer of five blocks: what is computed, what is reused, and what is remembered."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from accel.block_runner import BlockRunner
from accel.cache.curves import Polynomial
from accel.cache.gate import Gate
from accel.cache.report import Branch
from accel.cache.session import CacheSession, Forward
from accel.cache.strategies.base import Strategy
from accel.cache.strategies.dbcache import DBCache
from accel.cache.strategies.teacache import TeaCache
from pipelines.models.loader import Checkpoint
from tests.control import deeper

DEPTH, WIDTH = 5, 32
SHAPES = [(1, 3, 4), (1, 2, 3)]
IDENTITY = Polynomial((1.0, 0.0), 1e9)
OPEN = Gate(total=100, start=0, end=100, max_run=100)
TINY = 1e-6  # of float32


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "zero_cond_t"])
def transformer(request: pytest.FixtureRequest, checkpoint: Checkpoint) -> Any:
    return deeper(checkpoint, DEPTH, zero_cond_t=request.param).transformer


def drawn(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@dataclass(frozen=True)
class Question:
    """What one evaluation is asked."""

    tokens: torch.Tensor
    time: float
    shapes: Sequence[tuple[int, int, int]]
    added: list[torch.Tensor] | None = None
    words: int = 6

    @property
    def options(self) -> dict[str, Any]:
        return {"tokens": self.tokens, "timestep": torch.tensor([self.time]), "shapes": self.shapes}

    def embeds(self, branch: Branch) -> torch.Tensor:
        return drawn(1, self.words, 32, seed=1 if branch == "cond" else 2)

    def forwards(self, *branches: Branch) -> list[Forward]:
        return [Forward(branch, self.embeds(branch), lambda: self.added) for branch in branches]


def question(time: float = 0.5, *, moved: float = 0.0, references: bool = False, controls: int = 0) -> Question:
    """The noise tokens change with `moved`, the reference tokens never."""
    shapes = SHAPES if references else SHAPES[:1]
    tokens = drawn(1, 12, 64, seed=3) + moved * drawn(1, 12, 64, seed=4)
    count = sum(rows * columns for _, rows, columns in shapes)
    if references:
        tokens = torch.cat([tokens, drawn(1, 6, 64, seed=5)], dim=1)
    added = [drawn(1, count, WIDTH, seed=10 + number) for number in range(controls)] if controls else None
    return Question(tokens, time, shapes, added)


def plain(transformer: Any, asked: Question, branch: Branch = "cond") -> torch.Tensor:
    with torch.inference_mode():
        predicted = transformer(
            hidden_states=asked.tokens,
            timestep=torch.tensor([asked.time]),
            encoder_hidden_states=asked.embeds(branch),
            encoder_hidden_states_mask=None,
            img_shapes=[asked.shapes],
            controlnet_block_samples=asked.added,
            return_dict=False,
        )[0]
    return predicted[:, :12]


def ask(
    session: CacheSession, transformer: Any, asked: Question, step: int, *branches: Branch, controls: Any = None
) -> list[torch.Tensor]:
    with torch.inference_mode():
        return session.evaluate(
            transformer,
            **asked.options,
            forwards=asked.forwards(*(branches or ("cond",))),
            step=step,
            controls=controls,
        )


def session(strategy: Strategy, gate: Gate = OPEN) -> CacheSession:
    return CacheSession("dbcache", strategy, gate)


def reasons(asked: CacheSession) -> list[str]:
    return [decision.reason for decision in asked.report().decisions]


STRATEGIES = [
    DBCache(1e9, front=1),
    DBCache(1e9, front=3),
    DBCache(1e9, front=2, back=2),
    TeaCache(1e9, IDENTITY),
]
ANY = pytest.mark.parametrize("strategy", STRATEGIES, ids=["F1B0", "F3B0", "F2B2", "tea"])


@pytest.mark.parametrize("controls", [0, 1, 2, 5])
@pytest.mark.parametrize("references", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_run_over_all_blocks_is_the_forward_bit_for_bit(
    checkpoint: Checkpoint, zero_cond_t: bool, dtype: torch.dtype, references: bool, controls: int
) -> None:
    model: Any = deeper(checkpoint, DEPTH, zero_cond_t=zero_cond_t).transformer
    model.to(dtype)
    asked = question(references=references, controls=controls)
    added = [each.to(dtype) for each in asked.added] if asked.added else None
    tokens, time, embeds = asked.tokens.to(dtype), torch.tensor([0.5], dtype=dtype), asked.embeds("cond").to(dtype)
    with torch.inference_mode():
        expected = model(
            hidden_states=tokens,
            timestep=time,
            encoder_hidden_states=embeds,
            encoder_hidden_states_mask=None,
            img_shapes=[asked.shapes],
            controlnet_block_samples=added,
            return_dict=False,
        )[0]
        runner = BlockRunner(model, tokens, time, embeds, asked.shapes, lambda: added)
        runner.run_to(2)
        runner.run_to(runner.depth)
        assert torch.equal(runner.output(), expected[:, :12])


@pytest.fixture(params=[False, True], ids=["plain", "zero_cond_t"])
def zero_cond_t(request: pytest.FixtureRequest) -> bool:
    return request.param


class TestReuse:
    @ANY
    @pytest.mark.parametrize("references", [False, True])
    @pytest.mark.parametrize("controls", [0, 2])
    def test_the_same_question_twice_has_the_same_answer(
        self, transformer: Any, strategy: Strategy, references: bool, controls: int
    ) -> None:
        asked, ours = question(references=references, controls=controls), session(strategy)
        first, second = (ask(ours, transformer, asked, step, "cond", "uncond") for step in (0, 1))
        assert reasons(ours) == ["first", "first", "reuse", "reuse"]
        for branch, before, after in zip(("cond", "uncond"), first, second, strict=True):
            assert torch.equal(before, plain(transformer, asked, branch))
            assert (after - before).abs().max() < 50 * TINY * before.abs().max()

    @ANY
    def test_a_reused_step_is_fresh_where_blocks_were_run(self, transformer: Any, strategy: Strategy) -> None:
        ours, moved = session(strategy), question(0.45, moved=0.05)
        (before,) = ask(ours, transformer, question(), 0)
        (after,) = ask(ours, transformer, moved, 1)
        assert reasons(ours)[1] == "reuse"
        assert not torch.equal(after, before)
        assert not torch.equal(after, plain(transformer, moved))

    @ANY
    def test_a_threshold_of_zero_computes_everything(self, transformer: Any, strategy: Any) -> None:
        ours = session(type(strategy)(0.0, *[getattr(strategy, name) for name in type(strategy).__slots__[1:]]))
        for step, moved in enumerate((0.0, 0.0, 0.1, 0.1)):
            asked = question(moved=moved)
            assert torch.equal(ask(ours, transformer, asked, step)[0], plain(transformer, asked))
        assert "reuse" not in reasons(ours)

    @ANY
    def test_blocks_are_counted(self, transformer: Any, strategy: Strategy) -> None:
        ours, runs = session(strategy), []
        handles = [block.register_forward_hook(lambda *_: runs.append(1)) for block in transformer.transformer_blocks]
        for step in range(2):
            ask(ours, transformer, question(), step)
        for handle in handles:
            handle.remove()
        report = ours.report()
        assert report.blocks_run == len(runs) == DEPTH + strategy.front + strategy.back
        assert report.blocks_skipped == DEPTH - strategy.front - strategy.back
        assert report.seconds > 0
        assert report.seconds_saved == pytest.approx(report.seconds * report.blocks_skipped / report.blocks_run)


class TestDistance:
    def test_it_is_the_relative_change_of_the_noise_tokens(self, transformer: Any) -> None:
        ours, asked = session(DBCache(0.0, front=2)), [question(0.5, references=True), question(0.4, moved=0.2)]
        asked[1] = question(0.4, moved=0.2, references=True)
        moves = []
        for step, each in enumerate(asked):
            ask(ours, transformer, each, step)
            with torch.inference_mode():
                runner = BlockRunner(transformer, **{**each.options}, embeds=each.embeds("cond"))
                start = runner.image[:, :12]
                runner.run_to(2)
                moves.append(runner.image[:, :12] - start)
        expected = (moves[1] - moves[0]).abs().mean() / moves[0].abs().mean()
        first, second = ours.report().decisions
        assert first.distance is None
        assert second.distance == pytest.approx(float(expected), rel=1e-6)

    def test_fbcache_compares_with_the_last_computed_step_and_teacache_with_the_last(self, transformer: Any) -> None:
        path = [0.0, 0.02, 0.04, 0.06]
        measured = []
        for strategy in (DBCache(1e9, front=1), TeaCache(1e9, IDENTITY)):
            ours = session(strategy)
            for step, moved in enumerate(path):
                ask(ours, transformer, question(moved=moved), step)
            measured.append([decision.distance for decision in ours.report().decisions[1:]])
        anchored, followed = measured
        assert anchored[0] < anchored[1] < anchored[2]
        assert max(followed) < 1.2 * min(followed)

    def test_teacache_adds_up_and_starts_again_after_a_computed_step(self, transformer: Any) -> None:
        probe = session(TeaCache(0.0, IDENTITY))
        for step in range(2):
            ask(probe, transformer, question(moved=0.02 * step), step)
        once = probe.report().decisions[1].distance or 0.0
        ours = session(TeaCache(2.5 * once, IDENTITY))
        for step in range(7):
            ask(ours, transformer, question(moved=0.02 * step), step)
        assert ours.report().patterns == {"cond": "CRRCRRC"}
        scores = [decision.score for decision in ours.report().decisions[1:4]]
        assert scores == pytest.approx([once, 2 * once, 3 * once], rel=0.1)

    def test_teacache_decides_once_for_both_branches(self, transformer: Any) -> None:
        ours = session(TeaCache(0.05, IDENTITY))
        for step in range(8):
            ask(ours, transformer, question(moved=0.02 * step), step, "cond", "uncond")
        decisions = ours.report().decisions
        assert {decision.reused for decision in decisions} == {True, False}
        for cond, uncond in zip(decisions[::2], decisions[1::2], strict=True):
            assert (cond.reason, cond.distance, cond.score) == (uncond.reason, uncond.distance, uncond.score)

    def test_one_wait_for_the_device_a_step(self, transformer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        waits: list[int] = []
        listed = torch.Tensor.tolist
        monkeypatch.setattr(torch.Tensor, "tolist", lambda self: waits.append(1) or listed(self))
        monkeypatch.setattr(torch.Tensor, "item", lambda self: pytest.fail("another wait"))
        ours = session(DBCache(1e9, front=1))
        for step in range(3):
            ask(ours, transformer, question(), step, "cond", "uncond")
        assert len(waits) == 2  # the first step has nothing to compare with


class TestDoubt:
    """Whatever is not as before is computed, and right."""

    def after(self, transformer: Any, asked: Question, strategy: Strategy, **options: Any) -> tuple[str, bool]:
        ours = session(strategy)
        ask(ours, transformer, question(), 0)
        (answer,) = ask(ours, transformer, asked, 1, **options)
        return reasons(ours)[1], torch.equal(answer, plain(transformer, asked))

    @ANY
    def test_other_controls(self, transformer: Any, strategy: Strategy) -> None:
        assert self.after(transformer, question(controls=1), strategy, controls=(True,)) == ("controls", True)

    @ANY
    def test_another_number_of_tokens(self, transformer: Any, strategy: Strategy) -> None:
        assert self.after(transformer, question(references=True), strategy) == ("shape", True)

    @ANY
    def test_another_grid(self, transformer: Any, strategy: Strategy) -> None:
        asked = Question(drawn(1, 6, 64, seed=3), 0.5, [(1, 2, 3)])
        ours = session(strategy)
        ask(ours, transformer, question(), 0)
        ask(ours, transformer, asked, 1)
        assert reasons(ours)[1] == "shape"

    @ANY
    def test_not_a_number(self, transformer: Any, strategy: Strategy) -> None:
        ours, broken = session(strategy), question()
        broken.tokens[0, 0, 0] = math.nan
        asked = (question(), broken, question(), question())
        answer = [ask(ours, transformer, each, step)[0] for step, each in enumerate(asked)][-1]
        assert reasons(ours) == ["first", "not_finite", "not_finite", "reuse"]
        assert answer.isfinite().all()

    @ANY
    def test_a_branch_that_was_not_asked_before(self, transformer: Any, strategy: Strategy) -> None:
        ours = session(strategy)
        ask(ours, transformer, question(), 0, "cond")
        answers = ask(ours, transformer, question(), 1, "cond", "uncond")
        assert reasons(ours)[2] == "no_memory"
        assert torch.equal(answers[1], plain(transformer, question(), "uncond"))


class TestMemory:
    def test_branches_are_told_apart_by_name_and_not_by_turn(self, transformer: Any) -> None:
        ours = session(DBCache(1e9, front=1))
        asked = question()
        first = ask(ours, transformer, asked, 0, "cond", "uncond")
        second = ask(ours, transformer, asked, 1, "uncond", "cond")
        assert torch.allclose(first[0], second[1], atol=1e-4)
        assert torch.allclose(first[1], second[0], atol=1e-4)
        assert not torch.allclose(first[0], first[1], atol=1e-2)

    def test_each_evaluation_within_a_step_has_its_own(self, transformer: Any) -> None:
        ours, near, far = session(DBCache(1e9, front=1)), question(0.9), question(0.1, moved=1.0)
        for asked in (near, far):
            ask(ours, transformer, asked, 0)
        answers = [ask(ours, transformer, asked, 1)[0] for asked in (near, far)]
        assert reasons(ours) == ["first", "first", "reuse", "reuse"]
        for answer, asked in zip(answers, (near, far), strict=True):
            assert torch.allclose(answer, plain(transformer, asked), atol=1e-4)

    def test_two_sessions_on_one_transformer_do_not_meet(self, transformer: Any) -> None:
        def alone(seed: int) -> list[torch.Tensor]:
            ours = session(DBCache(0.2, front=1))
            return [ask(ours, transformer, question(moved=seed + 0.05 * step), step)[0] for step in range(6)]

        pair = session(DBCache(0.2, front=1)), session(DBCache(0.2, front=1))
        together: tuple[list[torch.Tensor], list[torch.Tensor]] = ([], [])
        for step in range(6):
            for seed in range(2):
                together[seed].extend(ask(pair[seed], transformer, question(moved=seed + 0.05 * step), step))
        assert "reuse" in reasons(pair[0])
        for seed in range(2):
            assert all(map(torch.equal, alone(seed), together[seed]))

    def test_nothing_is_left_on_the_transformer(self, transformer: Any) -> None:
        before = {name: set(vars(module)) for name, module in transformer.named_modules()}
        ours = session(DBCache(1e9, front=1))
        for step in range(2):
            ask(ours, transformer, question(), step)
        assert {name: set(vars(module)) for name, module in transformer.named_modules()} == before
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in transformer.modules())

    def test_the_last_step_frees_what_was_remembered(self, transformer: Any) -> None:
        ours = session(DBCache(1e9, front=1), Gate(total=3, start=0, end=3, max_run=3))
        for step in range(3):
            assert bool(ours._memories) == (step > 0)
            ask(ours, transformer, question(), step)
        assert not ours._memories
        assert reasons(ours) == ["first", "reuse", "last"]

    def test_the_run_cap_counts_runs(self, transformer: Any) -> None:
        ours = session(DBCache(1e9, front=1), Gate(total=10, start=2, end=9, max_run=2))
        for step in range(10):
            ask(ours, transformer, question(), step)
        assert ours.report().patterns == {"cond": "CCRRCRRCRC"}
