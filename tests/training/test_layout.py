import numpy as np
import torch

from training.layout import POINTS, LayoutHead, by_token, labels
from training.scenes import COLOURS, SHAPES, Scene, Thing, Word

COLOUR = {name: index for index, name in enumerate(COLOURS)}


def test_labels_name_kind_and_colour_of_each_point() -> None:
    scene = Scene("white", (Thing("star", "red", "large", "left"),), Word("HI", "blue", "top"))
    field = labels(scene, 8, 8)
    assert field.shape == (8 * POINTS, 8 * POINTS)
    assert set(np.unique(field)) == {
        COLOUR["white"],
        (1 + SHAPES.index("star")) * 16 + COLOUR["red"],
        (1 + len(SHAPES)) * 16 + COLOUR["blue"],
    }
    assert field[16, 8] // 16 == 1 + SHAPES.index("star")


def test_tokens_hold_their_own_points() -> None:
    field = torch.arange(6 * POINTS * 10 * POINTS).reshape(1, 6 * POINTS, 10 * POINTS)
    tokens = by_token(field)
    assert tokens.shape == (1, 60, POINTS**2)
    assert torch.equal(tokens[0, 11], field[0, POINTS : 2 * POINTS, POINTS : 2 * POINTS].flatten())


def test_the_head_learns_what_it_is_told() -> None:
    torch.manual_seed(0)
    scene = Scene("white", (Thing("ring", "red", "large", "center"),))
    told = by_token(torch.from_numpy(labels(scene, 8, 8))[None])
    states, head = torch.randn(1, 64, 96), LayoutHead(96)
    optimizer = torch.optim.Adam(head.parameters(), 0.01)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = head.loss(states, told)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]
