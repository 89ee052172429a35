import subprocess
import sys

import pytest
from pydantic import TypeAdapter

from accel.cache.curves import Curve, Polynomial, Table
from accel.cache.plan import CachePlan

PLAN = TypeAdapter(CachePlan)


@pytest.mark.parametrize(
    "curve", [None, Polynomial((2.0, 0.0), 0.5, 0.1, 0.7), Table((0.9, 0.1), (1.5, 3.0), 0.4, 0.8)]
)
def test_a_plan_survives_a_receipt(curve: Curve | None) -> None:
    plan = CachePlan("teacache", 0.3, 3, 18, 3, profile="embedded", curve=curve)
    assert PLAN.validate_json(PLAN.dump_json(plan)) == plan


def test_a_receipt_without_the_optional_fields_is_read() -> None:
    text = '{"strategy":"fbcache","threshold":0.25,"start":3,"end":18,"max_run":3}'
    assert PLAN.validate_json(text) == CachePlan("fbcache", 0.25, 3, 18, 3)


def test_plain_data_imports_no_torch() -> None:
    modules = "accel.cache.plan, accel.cache.report, accel.cache.profile, accel.calibration.predict"
    code = f"import sys, {modules}, accel.calibration.traces, accel.calibration.fit; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
