"""Sessions over a random transformer of five blocks: what is computed, what is reused, and what is remembered."""

import copy
import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from accel.block_runner import RESIDENT, WeightAccess
from accel.cache.gate import Gate
from accel.cache.plan import CachePlan
from accel.cache.session import CacheSession, open_session
from accel.cache.strategies.base import Strategy
from accel.cache.strategies.dbcache import DBCache
from accel.cache.strategies.dicache import DiCache
from accel.cache.strategies.easycache import EasyCache
from accel.cache.strategies.meancache import MeanCache
from accel.cache.strategies.teacache import TeaCache
from accel.weights.modulation_tables import make_table
from accel.weights.placement import HostShare, place_transformer
from tests.accel.inputs import (
    DEPTH,
    IDENTITY,
    NOISE_TOKENS,
    OPEN_GATE,
    Inputs,
    evaluate,
    full_forward,
    make_inputs,
    make_session,
    random_tensor,
    reasons,
)
from tests.accel.weights.fake_device import FakeEngine

ROUNDING = 5e-5  # of float32, over a whole forward

STRATEGIES: list[Any] = [
    DBCache(1e9, front=1),
    DBCache(1e9, front=3),
    DBCache(1e9, front=2, back=2),
    TeaCache(1e9, IDENTITY),
]
ANY = pytest.mark.parametrize("strategy", STRATEGIES, ids=["F1B0", "F3B0", "F2B2", "tea"])


class TestReuse:
    @ANY
    @pytest.mark.parametrize("references", [False, True])
    @pytest.mark.parametrize("controls", [0, 2])
    def test_the_same_inputs_twice_give_the_same_output(
        self, transformer: Any, strategy: Strategy, references: bool, controls: int
    ) -> None:
        inputs, session = make_inputs(references=references, controls=controls), make_session(strategy)
        first, second = (evaluate(session, transformer, inputs, step, "cond", "uncond") for step in (0, 1))
        assert reasons(session) == ["first", "first", "reuse", "reuse"]
        for branch, before, after in zip(("cond", "uncond"), first, second, strict=True):
            assert torch.equal(before, full_forward(transformer, inputs, branch))
            assert (after - before).abs().max() < ROUNDING * before.abs().max()

    @ANY
    def test_a_reused_step_is_fresh_where_blocks_ran(self, transformer: Any, strategy: Strategy) -> None:
        session, moved = make_session(strategy), make_inputs(0.45, moved=0.05)
        (before,) = evaluate(session, transformer, make_inputs(), 0)
        (after,) = evaluate(session, transformer, moved, 1)
        assert reasons(session)[1] == "reuse"
        assert not torch.equal(after, before)
        assert not torch.equal(after, full_forward(transformer, moved))

    @ANY
    def test_a_threshold_of_zero_computes_everything(self, transformer: Any, strategy: Any) -> None:
        session = make_session(replace(strategy, threshold=0.0))
        for step, moved in enumerate((0.0, 0.0, 0.1, 0.1)):
            inputs = make_inputs(moved=moved)
            assert torch.equal(evaluate(session, transformer, inputs, step)[0], full_forward(transformer, inputs))
        assert "reuse" not in reasons(session)

    @ANY
    def test_blocks_are_counted(self, transformer: Any, strategy: Strategy) -> None:
        session, runs = make_session(strategy), []
        attentions = [block.attn for block in transformer.transformer_blocks]
        handles = [attention.register_forward_hook(lambda *_: runs.append(1)) for attention in attentions]
        for step in range(2):
            evaluate(session, transformer, make_inputs(), step)
        for handle in handles:
            handle.remove()
        report = session.report()
        assert report.blocks_run == len(runs) == DEPTH + strategy.front + strategy.back
        assert report.blocks_skipped == DEPTH - strategy.front - strategy.back
        assert report.seconds > 0

    def test_one_wait_for_the_device_a_step(self, transformer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        waits: list[int] = []
        listed = torch.Tensor.tolist
        monkeypatch.setattr(torch.Tensor, "tolist", lambda self: waits.append(1) or listed(self))
        monkeypatch.setattr(torch.Tensor, "item", lambda self: pytest.fail("another wait"))
        session = make_session(DBCache(1e9, front=1))
        for step in range(3):
            evaluate(session, transformer, make_inputs(), step, "cond", "uncond")
        assert len(waits) == 2  # the first step has nothing to compare with


class TestDoubt:
    """Whatever is not as before is computed, and right."""

    def second_step(self, transformer: Any, inputs: Inputs, strategy: Strategy, **options: Any) -> tuple[str, bool]:
        session = make_session(strategy)
        evaluate(session, transformer, make_inputs(), 0)
        (output,) = evaluate(session, transformer, inputs, 1, **options)
        return reasons(session)[1], torch.equal(output, full_forward(transformer, inputs))

    @ANY
    def test_other_controls(self, transformer: Any, strategy: Strategy) -> None:
        inputs = make_inputs(controls=1)
        assert self.second_step(transformer, inputs, strategy, controls=(True,)) == ("controls", True)

    @ANY
    def test_another_number_of_tokens(self, transformer: Any, strategy: Strategy) -> None:
        assert self.second_step(transformer, make_inputs(references=True), strategy) == ("shape", True)

    @ANY
    def test_another_grid(self, transformer: Any, strategy: Strategy) -> None:
        session = make_session(strategy)
        evaluate(session, transformer, make_inputs(), 0)
        evaluate(session, transformer, Inputs(random_tensor(1, 6, 64, seed=3), 0.5, [(1, 2, 3)]), 1)
        assert reasons(session)[1] == "shape"

    @ANY
    def test_not_a_number(self, transformer: Any, strategy: Strategy) -> None:
        session, broken = make_session(strategy), make_inputs()
        broken.tokens[0, 0, 0] = math.nan
        steps = (make_inputs(), broken, make_inputs(), make_inputs())
        output = [evaluate(session, transformer, inputs, step)[0] for step, inputs in enumerate(steps)][-1]
        assert reasons(session) == ["first", "not_finite", "not_finite", "reuse"]
        assert output.isfinite().all()

    @ANY
    def test_a_branch_without_memory(self, transformer: Any, strategy: Strategy) -> None:
        session = make_session(strategy)
        evaluate(session, transformer, make_inputs(), 0, "cond")
        outputs = evaluate(session, transformer, make_inputs(), 1, "cond", "uncond")
        assert reasons(session)[2] == "no_memory"
        assert torch.equal(outputs[1], full_forward(transformer, make_inputs(), "uncond"))

    def test_one_branch_in_doubt_computes_both_where_one_decision_is_taken(self, transformer: Any) -> None:
        session = make_session(TeaCache(1e9, IDENTITY))
        evaluate(session, transformer, make_inputs(), 0, "cond")
        evaluate(session, transformer, make_inputs(), 1, "cond", "uncond")
        assert reasons(session)[1:] == ["no_memory", "no_memory"]

    def test_a_history_too_short_for_the_metric(self, transformer: Any) -> None:
        session = make_session(EasyCache(1e9))
        for step in range(3):
            evaluate(session, transformer, make_inputs(moved=0.1 * step), step)
        assert reasons(session) == ["first", "no_memory", "reuse"]


class TestMemory:
    def test_branches_are_told_apart_by_name_and_not_by_turn(self, transformer: Any) -> None:
        session, inputs = make_session(DBCache(1e9, front=1)), make_inputs()
        first = evaluate(session, transformer, inputs, 0, "cond", "uncond")
        second = evaluate(session, transformer, inputs, 1, "uncond", "cond")
        assert torch.allclose(first[0], second[1], atol=1e-4)
        assert torch.allclose(first[1], second[0], atol=1e-4)
        assert not torch.allclose(first[0], first[1], atol=1e-2)

    def test_each_evaluation_within_a_step_has_its_own(self, transformer: Any) -> None:
        session, near, far = make_session(DBCache(1e9, front=1)), make_inputs(0.9), make_inputs(0.1, moved=1.0)
        for inputs in (near, far):
            evaluate(session, transformer, inputs, 0)
        outputs = [evaluate(session, transformer, inputs, 1)[0] for inputs in (near, far)]
        assert reasons(session) == ["first", "first", "reuse", "reuse"]
        for output, inputs in zip(outputs, (near, far), strict=True):
            assert torch.allclose(output, full_forward(transformer, inputs), atol=1e-4)

    def test_two_sessions_on_one_transformer_do_not_meet(self, transformer: Any) -> None:
        def alone(seed: int) -> list[torch.Tensor]:
            session = make_session(DBCache(0.2, front=1))
            steps = [make_inputs(moved=seed + 0.05 * step) for step in range(6)]
            return [evaluate(session, transformer, inputs, step)[0] for step, inputs in enumerate(steps)]

        pair = make_session(DBCache(0.2, front=1)), make_session(DBCache(0.2, front=1))
        together: tuple[list[torch.Tensor], list[torch.Tensor]] = ([], [])
        for step in range(6):
            for seed in range(2):
                inputs = make_inputs(moved=seed + 0.05 * step)
                together[seed].extend(evaluate(pair[seed], transformer, inputs, step))
        assert "reuse" in reasons(pair[0])
        for seed in range(2):
            assert all(map(torch.equal, alone(seed), together[seed]))

    def test_nothing_is_left_on_the_transformer(self, transformer: Any) -> None:
        before = {name: set(vars(module)) for name, module in transformer.named_modules()}
        session = make_session(DBCache(1e9, front=1))
        for step in range(2):
            evaluate(session, transformer, make_inputs(), step)
        assert {name: set(vars(module)) for name, module in transformer.named_modules()} == before
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in transformer.modules())

    def test_the_last_step_frees_the_memory(self, transformer: Any) -> None:
        session = make_session(DBCache(1e9, front=1), Gate(total=3, start=0, end=3, max_run=3))
        for step in range(3):
            assert bool(session._memories) == (step > 0)
            evaluate(session, transformer, make_inputs(), step)
        assert not session._memories
        assert reasons(session) == ["first", "reuse", "last"]

    def test_the_run_cap_counts_runs(self, transformer: Any) -> None:
        session = make_session(DBCache(1e9, front=1), Gate(total=10, start=2, end=9, max_run=2))
        for step in range(10):
            evaluate(session, transformer, make_inputs(), step)
        assert session.report().patterns == {"cond": "CCRRCRRCRC"}

    @pytest.mark.parametrize("change", ["controls", "not a number"])
    def test_a_history_is_dropped_where_it_does_not_fit(self, transformer: Any, change: str) -> None:
        session = make_session(DiCache(0.0))
        for step in range(3):
            inputs = make_inputs(moved=0.1 * step)
            if change == "not a number" and step == 2:
                inputs.tokens[0, 0, 0] = math.nan
            evaluate(session, transformer, inputs, step, controls=step if change == "controls" and step == 2 else None)
            assert len(session._memories[0, "cond"].history) == (1, 2, 1)[step]


class TestStreamedWeights:
    """Streaming and tables change no bit, no decision, and copy only what runs."""

    def outputs(
        self, transformer: Any, strategy: Strategy, weights: WeightAccess, *, references: bool = True
    ) -> tuple[list[torch.Tensor], list[str]]:
        session, found = CacheSession("dbcache", strategy, OPEN_GATE, [1.0, 0.7, 0.5, 0.2, 0.0]), []
        for step in range(4):
            inputs = make_inputs(0.5, moved=0.02 * (step % 3), references=references, controls=2)
            found += evaluate(session, transformer, inputs, step, "cond", "uncond", weights=weights)
        return found, reasons(session)

    @pytest.mark.parametrize(
        "strategy",
        [*STRATEGIES, DiCache(1e9), EasyCache(1e9), MeanCache(0.5), DBCache(0.05, front=1)],
        ids=["F1B0", "F3B0", "F2B2", "tea", "di", "easy", "mean", "some"],
    )
    def test_bits_and_decisions_stay(self, transformer: Any, strategy: Strategy) -> None:
        expected, decisions = self.outputs(transformer, strategy, RESIDENT)
        for tables in (False, True):
            model, engine = copy.deepcopy(transformer), FakeEngine()
            with torch.inference_mode():
                placement = place_transformer(model, torch.device("cpu"), HostShare(1, tables), engine=engine)
                modulation = None
                if placement.modulation is not None:
                    table = make_table(model, [torch.tensor([0.5])], placement.modulation)
                    modulation = lambda steps=table.steps: steps[0.5]  # noqa: E731
            streamed, again = self.outputs(model, strategy, WeightAccess(placement.blocks, modulation))
            assert again == decisions
            assert all(map(torch.equal, streamed, expected))
            assert not engine.overwritten_while_read()

    def test_both_branches_share_each_copy_and_a_reused_step_copies_what_it_runs(self, transformer: Any) -> None:
        model, engine = copy.deepcopy(transformer), FakeEngine()
        stream = place_transformer(model, torch.device("cpu"), HostShare(DEPTH), engine=engine).blocks
        assert stream is not None
        session, copies = make_session(DBCache(1e9, front=3)), []
        for step in range(3):
            inputs = make_inputs(moved=0.01 * step)
            evaluate(session, model, inputs, step, "cond", "uncond", weights=WeightAccess(stream))
            copies.append(len(engine.copies) - sum(copies))
        assert reasons(session)[2:] == ["reuse"] * 4
        assert copies == [DEPTH + 2, 1, 2]  # the first two are copied ahead, and one of them stays

    def test_after_an_interruption_the_next_image_is_right(self, transformer: Any) -> None:
        model, engine = copy.deepcopy(transformer), FakeEngine()
        stream = place_transformer(model, torch.device("cpu"), HostShare(DEPTH), engine=engine).blocks
        weights = WeightAccess(stream)

        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        for block in model.transformer_blocks:
            handle = block.attn.register_forward_hook(interrupt)
            with pytest.raises(KeyboardInterrupt):
                evaluate(
                    make_session(DBCache(1e9, front=1)), model, make_inputs(), 0, "cond", "uncond", weights=weights
                )
            handle.remove()
            assert all(map(torch.equal, model.state_dict().values(), transformer.state_dict().values()))
        (output,) = evaluate(make_session(DBCache(1e9, front=1)), model, make_inputs(), 0, weights=weights)
        assert torch.equal(output, full_forward(transformer, make_inputs()))
        assert not engine.overwritten_while_read()


class TestOpenSession:
    def test_reuse_is_allowed_in_the_window_of_the_executed_steps(self, transformer: Any) -> None:
        plan = CachePlan("fbcache", 1e9, start=2, end=5, max_run=2)
        session = open_session(plan, steps=20, sigmas=[1 - step / 6 for step in range(7)], depth=DEPTH)
        for step in range(6):
            evaluate(session, transformer, make_inputs(), step)
        assert session.report().strategy == "fbcache"
        assert reasons(session) == ["first", "window", "reuse", "reuse", "run_cap", "last"]

    def test_a_fixed_schedule_is_computed_where_it_says(self, transformer: Any) -> None:
        plan = CachePlan("meancache", 0.8, start=0, end=10, max_run=10)
        session = open_session(plan, steps=10, sigmas=[1 - step / 10 for step in range(11)], depth=DEPTH)
        outputs = [evaluate(session, transformer, make_inputs(), step)[0] for step in range(10)]
        assert {"timetable", "reuse"} <= set(reasons(session))
        assert all(decision.distance is None for decision in session.report().decisions)
        assert all(output.shape == (1, NOISE_TOKENS, 64) for output in outputs)
