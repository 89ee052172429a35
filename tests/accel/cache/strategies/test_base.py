import pytest
import torch

from accel.cache.strategies.base import DistanceMetric, FixedSchedule, Predictor, relative_l1
from accel.cache.strategies.dbcache import DBCache
from accel.cache.strategies.dicache import DiCache
from accel.cache.strategies.easycache import EasyCache
from accel.cache.strategies.meancache import MeanCache
from accel.cache.strategies.teacache import TeaCache
from tests.accel.inputs import IDENTITY


def test_the_relative_change_of_known_numbers() -> None:
    assert relative_l1(torch.tensor([1.0, -5.0]), torch.tensor([2.0, -2.0])) == pytest.approx((1 + 3) / (2 + 2))


def test_half_precision_is_compared_in_float32() -> None:
    now, before = torch.full((4096,), 1.0078125, dtype=torch.bfloat16), torch.ones(4096, dtype=torch.bfloat16)
    change = relative_l1(now, before)
    assert change.dtype == torch.float32
    assert change == pytest.approx(0.0078125)


@pytest.mark.parametrize(
    ("strategy", "protocols"),
    [
        (DBCache(1.0, front=1), {Predictor}),
        (TeaCache(1.0, IDENTITY), set()),
        (MeanCache(1.0), {Predictor, FixedSchedule}),
        (EasyCache(1.0), {Predictor, DistanceMetric}),
        (DiCache(1.0), {Predictor, DistanceMetric}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_optional_interface_is_recognized_by_its_methods(strategy: object, protocols: set[type]) -> None:
    assert {each for each in (Predictor, DistanceMetric, FixedSchedule) if isinstance(strategy, each)} == protocols
