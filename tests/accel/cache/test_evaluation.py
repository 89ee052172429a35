from typing import Any

import torch

from accel.cache.evaluation import Evaluation, Forward
from tests.accel.inputs import full_forward, make_inputs


def test_a_runner_computes_the_forward_of_one_branch(transformer: Any) -> None:
    inputs = make_inputs(references=True, controls=2)
    cond, uncond = inputs.embeds("cond"), inputs.embeds("uncond")
    forwards = [Forward("cond", cond, lambda: inputs.residuals), Forward("uncond", uncond, lambda: inputs.residuals)]
    evaluation = Evaluation(transformer, inputs.tokens, torch.tensor([inputs.time]), inputs.shapes, forwards, 0)
    for forward in forwards:
        with torch.inference_mode():
            runner = evaluation.runner(forward)
            runner.run_to(runner.depth)
            assert torch.equal(runner.output(), full_forward(transformer, inputs, forward.branch))
