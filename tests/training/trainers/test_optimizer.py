import pytest
import torch
from torch import nn

from training.trainers.optimizer import Average, Muon, Optimizer, trapezoid


@pytest.mark.parametrize("shape", [(8, 8), (24, 6), (6, 24)])
def test_a_muon_step_is_nearly_orthogonal_and_downhill(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    matrix = nn.Parameter(torch.zeros(shape))
    matrix.grad = torch.randn(shape)
    Muon([matrix], lr=1.0).step()
    values = torch.linalg.svdvals(matrix.detach()) / max(1.0, shape[0] / shape[1]) ** 0.5
    assert values.max() < 1.3
    assert values.min() > 0.5
    assert (matrix * matrix.grad).sum() < 0


def test_kernels_are_moved_in_place_whatever_their_layout_in_memory() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 3), nn.Flatten(), nn.Linear(4, 2))
    model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    optimizer = Optimizer(model, muon_rate=0.02, adam_rate=0.01, by_adam=lambda name: name == "0.weight")
    pixels, wanted, losses = torch.randn(16, 3, 5, 5), torch.randn(16, 2), []
    before = [parameter.detach().clone() for parameter in model.parameters()]
    for _ in range(80):
        loss = (model(pixels) - wanted).square().mean()
        loss.backward()
        optimizer.step(1.0)
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]
    assert all(not torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))


def test_going_on_equals_not_stopping() -> None:
    def trained(stops: int) -> torch.Tensor:
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 1))
        optimizer = Optimizer(model, muon_rate=0.02, adam_rate=0.01, by_adam=lambda name: name.startswith("1"))
        for step in range(6):
            if step == stops:
                state = optimizer.state_dict()
                optimizer = Optimizer(model, muon_rate=0.02, adam_rate=0.01, by_adam=lambda name: name.startswith("1"))
                optimizer.load_state_dict(state)
            model(torch.full((2, 4), float(step))).square().mean().backward()
            optimizer.step(1.0)
        return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])

    assert torch.equal(trained(stops=3), trained(stops=-1))


def test_the_average_follows() -> None:
    model = nn.Linear(2, 2)
    average = Average(model, horizon=10)
    with torch.no_grad():
        model.weight.fill_(5.0)
    for step in range(200):
        average.update(model, step)
    torch.testing.assert_close(average.model.weight, model.weight)


def test_the_rate_rises_holds_and_falls() -> None:
    assert trapezoid(0.0) < 0.01
    assert trapezoid(0.3) == trapezoid(0.6) == 1.0
    assert 0 < trapezoid(0.9) < trapezoid(0.7) < 1
    assert trapezoid(1.0) == 0
