"""Draws many scenes at once on a device: the twin of `training.data.scenes.draw_scene` and of the layout labels.

Knows arrays of scenes and torch; knows no caption.
"""

from dataclasses import fields

import torch

from training.data.layout import LETTER, POINTS
from training.data.scenes import COLOURS, SHAPES
from training.samples.scene_arrays import SceneArrays

_WORD = len(SHAPES) + 1  # the kind of a word in the labels


class DeviceScenes:
    """Scenes on a device. `draw` gives pictures of any size with the aspect that the arrays were made for."""

    def __init__(self, arrays: SceneArrays, device: torch.device) -> None:
        for field in fields(arrays):
            setattr(self, field.name, torch.from_numpy(getattr(arrays, field.name)).to(device, non_blocking=True))
        self._palette = torch.tensor(list(COLOURS.values()), dtype=torch.float32, device=device)

    background: torch.Tensor
    shapes: torch.Tensor
    colours: torch.Tensor
    places: torch.Tensor
    cells: torch.Tensor
    letters: torch.Tensor
    boxes: torch.Tensor
    word_colours: torch.Tensor

    def draw(self, width: int, height: int) -> torch.Tensor:
        """Return pixels in −1…1, float32 [N, 3, height, width], with the 256 levels of a drawn picture."""
        picture = self._palette[self.background][:, :, None, None].expand(-1, -1, height, width).clone()
        covers = [*self._things(width, height), self._word(width, height)]
        colours = [*self.colours.unbind(1), self.word_colours]
        for cover, colour in zip(covers, colours, strict=True):
            picture += cover.unsqueeze(1) * (self._palette[colour][:, :, None, None] - picture)
        return (picture + 0.5).floor() / 127.5 - 1

    def labels(self, rows: int, columns: int) -> torch.Tensor:
        """Return the layout labels for a grid of tokens, int64 [N, rows · POINTS, columns · POINTS]."""
        height, width = rows * POINTS, columns * POINTS
        field = self.background[:, None, None].expand(-1, height, width)
        for index, cover in enumerate(self._things(width, height)):
            number = (1 + self.shapes[:, index]) * 16 + self.colours[:, index]
            field = torch.where(cover > 0.5, number[:, None, None], field)
        ink = self._word(width, height) > 0.3
        field = torch.where(ink, (_WORD * 16 + self.word_colours)[:, None, None], field)
        return field + LETTER * self._letter_at(width, height)

    def _things(self, width: int, height: int) -> list[torch.Tensor]:
        """The cover of each of the three things, [N, height, width]."""
        side, device = min(width, height), self.places.device
        ys = torch.arange(height, device=device)[None, :, None] + 0.5
        xs = torch.arange(width, device=device)[None, None, :] + 0.5
        covers = []
        for index in range(self.shapes.shape[1]):
            x, y, radius = self.places[:, index, :, None, None].unbind(1)
            distance = _distance(self.shapes[:, index], xs - x * width, ys - y * height, radius * side)
            covers.append((0.5 - distance).clamp(0, 1))
        return covers

    def _word(self, width: int, height: int) -> torch.Tensor:
        """The cover of the word, [N, height, width]."""
        left, top, cell = (self.boxes[:, index, None, None] * width for index in range(3))
        down = _overlap(top, cell, self.cells.shape[1], height)
        across = _overlap(left, cell, self.cells.shape[2], width)
        return down @ self.cells.float() @ across.mT

    def _letter_at(self, width: int, height: int) -> torch.Tensor:
        """The number of the letter in whose box each pixel is, 0 for none, [N, height, width]."""
        left, top, cell = (self.boxes[:, index, None] * width for index in range(3))
        glyph_width, glyph_height = self.boxes[:, 3, None], self.boxes[:, 4, None]
        device, longest = self.boxes.device, self.letters.shape[1]
        columns = ((torch.arange(width, device=device) + 0.5 - left) / (cell * glyph_width)).floor().long()
        rows = ((torch.arange(height, device=device) + 0.5 - top) / (cell * glyph_height)).floor()
        inside = (columns >= 0) & (columns < longest)
        numbers = self.letters.gather(1, columns.clamp(0, longest - 1)) * inside
        return (rows == 0)[:, :, None] * numbers[:, None, :]


def _overlap(start: torch.Tensor, cell: torch.Tensor, cells: int, pixels: int) -> torch.Tensor:
    """The share of each pixel that lies in each cell of a row, [N, pixels, cells]."""
    low = torch.arange(pixels, device=start.device)[None, :, None]
    edges = start + cell * torch.arange(cells, device=start.device)[None, None]
    return (torch.minimum(low + 1, edges + cell) - torch.maximum(low, edges)).clamp(0, 1)


def _distance(shapes: torch.Tensor, x: torch.Tensor, y: torch.Tensor, radius: torch.Tensor) -> torch.Tensor:
    """The signed distance to the edge of each row's shape, as in `training.data.scenes`; far outside for no shape."""
    away = torch.hypot(x, y)
    across, down = x.abs(), y.abs()
    long, short = torch.maximum(across, down), torch.minimum(across, down)
    by_shape = {
        "circle": away - radius,
        "square": long - 0.86 * radius,
        "triangle": torch.maximum(y - 0.75 * radius, 0.894 * across - 0.447 * (y + 1.05 * radius)),
        "star": _star(x, y, away, radius),
        "cross": torch.maximum(long - radius, short - 0.33 * radius),
        "ring": (away - 0.74 * radius).abs() - 0.26 * radius,
    }
    distance = torch.full_like(away, 1e6)
    for number, shape in enumerate(SHAPES):
        distance = torch.where((shapes == number)[:, None, None], by_shape[shape], distance)
    return distance


def _star(x: torch.Tensor, y: torch.Tensor, away: torch.Tensor, radius: torch.Tensor) -> torch.Tensor:
    fifth = 2 * torch.pi / 5
    angle = (torch.remainder(torch.atan2(x, -y) + fifth / 2, fifth) - fifth / 2).abs()
    px, py = away * angle.sin(), away * angle.cos()
    outer, inner = 1.05 * radius, 0.45 * radius
    edge_x = inner * torch.sin(torch.tensor(fifth / 2))
    edge_y = inner * torch.cos(torch.tensor(fifth / 2)) - outer
    return ((py - outer) * edge_x - px * edge_y) / torch.hypot(edge_x, edge_y)
