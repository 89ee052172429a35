import torch

from pipelines.models.encodings import Encodings


class Maker:
    """Makes tensors of 40 bytes, and counts."""

    def __init__(self) -> None:
        self.made: list[str] = []

    def ask(self, encodings: Encodings, name: str) -> torch.Tensor:
        def make() -> torch.Tensor:
            self.made.append(name)
            return torch.full((10,), float(len(self.made)))

        return encodings.get(name, make, tensors=lambda tensor: (tensor,))


def test_the_same_key_is_made_once() -> None:
    encodings, maker = Encodings(), Maker()
    assert maker.ask(encodings, "a") is maker.ask(encodings, "a")
    assert maker.made == ["a"]


def test_the_least_recently_used_goes_first() -> None:
    encodings, maker = Encodings(limit=80), Maker()
    for name in ("a", "b", "a", "c", "a", "b"):
        maker.ask(encodings, name)
    assert maker.made == ["a", "b", "c", "b"]
    assert encodings.bytes == 80


def test_what_is_larger_than_the_bound_is_not_kept() -> None:
    encodings, maker = Encodings(limit=39), Maker()
    assert maker.ask(encodings, "a").sum() == 10
    maker.ask(encodings, "a")
    assert maker.made == ["a", "a"]
    assert encodings.bytes == 0


def test_what_could_not_be_made_is_tried_again() -> None:
    encodings, failures = Encodings(), []

    def fail() -> torch.Tensor:
        failures.append(1)
        raise ValueError

    for _ in range(2):
        try:
            encodings.get("a", fail, tensors=lambda tensor: (tensor,))
        except ValueError:
            continue
    assert len(failures) == 2
