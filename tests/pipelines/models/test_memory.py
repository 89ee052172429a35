import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pipelines.errors import LoadError
from pipelines.models import memory as module
from pipelines.models.memory import BUDGETS, Budget, ByteBudgetCache, budgets_within, storage_bytes, without_surplus


class Maker:
    """Makes tensors of 40 bytes, and remembers which."""

    def __init__(self) -> None:
        self.made: list[str] = []

    def make(self, name: str) -> Callable[[], torch.Tensor]:
        def make() -> torch.Tensor:
            self.made.append(name)
            return torch.full((10,), float(len(self.made)))

        return make


def cache(**budgets: Budget) -> ByteBudgetCache:
    return ByteBudgetCache({**BUDGETS, **budgets})  # pyright: ignore[reportArgumentType]  the names are kinds


class TestBytes:
    def test_the_same_key_is_made_once(self) -> None:
        memory, maker = cache(), Maker()
        one, again = (memory.get("embedding", "a", maker.make("a")) for _ in range(2))
        assert one is again
        assert maker.made == ["a"]

    def test_the_least_recently_used_leaves_first(self) -> None:
        memory, maker = cache(embedding=Budget(bytes=80)), Maker()
        for name in ("a", "b", "a", "c", "a", "b"):
            memory.get("embedding", name, maker.make(name))
        assert maker.made == ["a", "b", "c", "b"]
        assert memory.usage()["embedding"] == 80

    def test_a_value_above_the_budget_is_returned_and_not_kept(self) -> None:
        memory, maker = cache(embedding=Budget(bytes=100)), Maker()
        memory.get("embedding", "a", maker.make("a"))
        large = memory.get("embedding", "large", lambda: torch.ones(26))
        assert large.sum() == 26
        assert memory.usage()["embedding"] == 40

    def test_threads_that_ask_for_the_same_key_get_one_value(self) -> None:
        memory, maker, made = cache(), Maker(), list[torch.Tensor]()
        begun = threading.Barrier(2)

        def make() -> torch.Tensor:
            time.sleep(0.01)
            return maker.make("a")()

        def ask() -> None:
            begun.wait()
            made.append(memory.get("embedding", "a", make))

        threads = [threading.Thread(target=ask) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert made[0] is made[1]
        assert maker.made == ["a"]

    @settings(max_examples=20)
    @given(st.lists(st.tuples(st.sampled_from("abcde"), st.integers(0, 30)), max_size=20), st.integers(0, 200))
    def test_never_more_than_the_budget(self, asked: list[tuple[str, int]], room: int) -> None:
        memory = cache(lora=Budget(bytes=room))
        for key, length in asked:
            memory.get("lora", key, lambda length=length: torch.zeros(length))
            assert memory.usage()["lora"] == sum(storage_bytes(value) for value in memory.values("lora")) <= room

    def test_kinds_have_budgets_and_keys_of_their_own(self) -> None:
        memory, maker = cache(embedding=Budget(bytes=40), lora=Budget(bytes=40)), Maker()
        memory.get("embedding", "a", maker.make("embedding"))
        memory.get("lora", "a", maker.make("lora"))
        assert maker.made == ["embedding", "lora"]
        assert memory.usage() == {"checkpoint": 0, "controlnet": 0, "lora": 40, "embedding": 40, "modulation": 0}


class TestEntries:
    def test_one_leaves_before_the_next_is_made(self, monkeypatch: pytest.MonkeyPatch) -> None:
        events: list[str] = []
        monkeypatch.setattr(module, "free_memory", lambda: events.append(f"freed, {len(memory.values('controlnet'))}"))
        memory = cache(controlnet=Budget(entries=2))
        for name in "abac":
            memory.get("controlnet", name, lambda name=name: events.append(name))
        assert events == ["a", "b", "freed, 1", "c"]

    def test_what_left_is_freed_before_the_next_is_made(self) -> None:
        memory = cache(checkpoint=Budget(entries=1))
        old = weakref.ref(memory.get("checkpoint", "a", lambda: nn.Linear(2, 2)))
        assert old() is not None

        def make() -> nn.Linear:
            assert old() is None
            return nn.Linear(3, 3)

        memory.get("checkpoint", "b", make)
        assert memory.usage()["checkpoint"] == 4 * (9 + 3)

    def test_what_cannot_be_made_is_tried_again(self) -> None:
        memory, failures = cache(), []

        def fail() -> torch.Tensor:
            failures.append(1)
            raise LoadError("damaged")

        for _ in range(2):
            with pytest.raises(LoadError):
                memory.get("checkpoint", "a", fail)
        assert len(failures) == 2
        assert memory.values("checkpoint") == ()


@dataclass(frozen=True)
class Holder:
    name: str
    tensors: tuple[torch.Tensor, ...]
    by_name: dict[str, torch.Tensor]


class TestStorageBytes:
    def test_it_looks_into_containers(self) -> None:
        value = Holder("a", (torch.zeros(3), torch.zeros(2)), {"b": torch.zeros(5, dtype=torch.bfloat16)})
        assert storage_bytes(value) == 12 + 8 + 10

    def test_it_looks_into_modules_and_counts_buffers(self) -> None:
        assert storage_bytes(nn.BatchNorm1d(4)) == 4 * 4 * 4 + 8

    def test_a_view_counts_its_whole_storage_and_a_storage_once(self) -> None:
        whole = torch.zeros(10, 4)
        assert storage_bytes(whole[3:5]) == 160
        assert storage_bytes((whole[3:5], whole[5:], whole)) == 160

    def test_a_view_without_surplus_is_a_copy_of_its_own(self) -> None:
        whole = torch.arange(40.0).reshape(10, 4)
        part = without_surplus(whole[3:5])
        assert torch.equal(part, whole[3:5])
        assert storage_bytes(part) == 32
        assert without_surplus(whole) is whole


@pytest.mark.parametrize(
    ("size", "lora", "embedding", "controlnets"),
    [(None, 4_000_000_000, 512 * 2**20, 2), (3 * 10**9, 3 * 10**9, 512 * 2**20, 2), (3 * 10**8, 3 * 10**8, 10**8, 1)],
)
def test_a_small_card_keeps_less(size: int | None, lora: int, embedding: int, controlnets: int) -> None:
    budgets = budgets_within(size)
    assert (budgets["lora"].bytes, budgets["embedding"].bytes, budgets["controlnet"].entries) == (
        lora,
        embedding,
        controlnets,
    )
    assert budgets["checkpoint"] == BUDGETS["checkpoint"]
