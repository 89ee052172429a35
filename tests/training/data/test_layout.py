import numpy as np
import torch

from training.data.layout import POINTS, LayoutHead, foreground_tokens, group_by_token, layout_labels
from training.data.scenes import COLOURS, SHAPES, Scene, Thing, Word

COLOUR = {name: index for index, name in enumerate(COLOURS)}


def test_labels_name_kind_and_colour_of_each_point() -> None:
    scene = Scene("white", (Thing("star", "red", "large", "left"),), Word("HI", "blue", "top"))
    field = layout_labels(scene, 8, 8)
    assert field.shape == (8 * POINTS, 8 * POINTS)
    assert set(np.unique(field % 256)) == {
        COLOUR["white"],
        (1 + SHAPES.index("star")) * 16 + COLOUR["red"],
        (1 + len(SHAPES)) * 16 + COLOUR["blue"],
    }
    assert field[16, 8] // 16 == 1 + SHAPES.index("star")


def test_labels_name_the_letter_in_whose_box_each_point_lies() -> None:
    letters = layout_labels(Scene("white", (), Word("HI", "blue", "top")), 8, 8) // 256
    across = letters[8]
    assert across[np.flatnonzero(np.diff(across, prepend=-1))].tolist() == [0, 8, 9, 0]  # H is the eighth letter
    assert not letters[[0, -1]].any()


def test_what_is_shown_is_all_but_background() -> None:
    scene = Scene("white", (Thing("square", "red", "small", "top left"),), Word("GO", "black", "bottom"))
    tokens = foreground_tokens(group_by_token(torch.from_numpy(layout_labels(scene, 8, 8))[None])).view(8, 8)
    assert tokens[1:3, 1:3].all()
    assert tokens[6, 2:6].all()
    assert not tokens[3:5].any()


def test_tokens_hold_their_own_points() -> None:
    field = torch.arange(6 * POINTS * 10 * POINTS).reshape(1, 6 * POINTS, 10 * POINTS)
    tokens = group_by_token(field)
    assert tokens.shape == (1, 60, POINTS**2)
    assert torch.equal(tokens[0, 11], field[0, POINTS : 2 * POINTS, POINTS : 2 * POINTS].flatten())


def test_the_head_learns_what_it_is_told() -> None:
    torch.manual_seed(0)
    scene = Scene("white", (Thing("ring", "red", "large", "center"),), Word("HI", "blue", "bottom"))
    labels = group_by_token(torch.from_numpy(layout_labels(scene, 8, 8))[None])
    states, head = torch.randn(1, 64, 96), LayoutHead(96)
    optimizer = torch.optim.Adam(head.parameters(), 0.01)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = head.loss(states, labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]
