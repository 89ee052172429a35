import json

import pytest

from pipelines.models.planning.cards import GIB, Host, find_card
from pipelines.models.planning.planner import Planner, Wishes
from pipelines.models.planning.report import encoder_place, plan_json, plan_lines
from pipelines.models.planning.sizes import QWEN_IMAGE
from pipelines.models.planning.workload import Workload

HOST = Host(64 * GIB)
WORK = Workload(1328, 800, references=1, controls=2, results=2)


@pytest.mark.parametrize(("name", "place"), [("RTX 4090", "host"), ("H100", "card")])
def test_a_plan_in_words_and_as_json(name: str, place: str) -> None:
    card = find_card(name)
    assert card is not None
    plan = Planner(QWEN_IMAGE, card, HOST, WORK, Wishes()).plan()
    text = "\n".join(plan_lines(plan, card, HOST, WORK))
    assert f"on {name} ({card.memory / GIB:.1f} GiB) with 64.0 GiB of host memory" in text
    assert "for 1328×800 with 1 reference image and 2 ControlNets and 2 results together:" in text
    assert ("streamed a step" in text) == ("waits in host memory" in text) == (place == "host")
    assert "(computed, not measured)" in text
    assert all(reason in text for reason in plan.reasons)
    told = json.loads(json.dumps(plan_json(plan, card, HOST, WORK)))
    assert told["textEncoder"]["place"] == encoder_place(plan) == place
    assert told["transformer"]["precision"] == "bf16"
    assert told["peakBytes"] == plan.peak_bytes <= told["card"]["memoryBytes"]
    assert told["exact"] is True
    assert told["measured"] is False
    assert told["workload"]["references"] == 1
