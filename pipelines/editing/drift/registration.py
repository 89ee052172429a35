"""Registers an edited picture to its source: how far the edit has moved and scaled what it left as it was.

A direct method (Lucas and Kanade 1981) with three unknowns: the shift in both directions, and the scale. OpenCV's
`findTransformECC` has six, and two of them are undefined on a picture of circles. Robust weights (Tukey's biweight)
leave out what the edit has changed. Knows arrays; knows no requests.
"""

from dataclasses import dataclass

import cv2
import numpy as np

# Edits of this model family move their picture by less. A larger estimate is a wrong one.
MAX_SHIFT_SHARE, MAX_SCALE_CHANGE = 0.06, 0.05
# The least correlation of the matched details, and the least share of all details that must match.
MIN_CORRELATION, MIN_MATCHED = 0.6, 0.2

_COARSEST = 48  # pixels of the shorter side on the coarsest level of the pyramid
_FINEST = 700_000  # pixels: a larger picture is registered at half its size, where 0.02 pixels can still be told
_ITERATIONS = 30
_SETTLED = 0.002  # pixels: a smaller move ends the iterations on a level
_CONTRAST_SCALE = 0.01  # of the shorter side: sigma of the neighbourhood that details are compared with
_CONTRAST_FLOOR = 0.03  # of the range: contrast that counts as noise
_NOISE_BLUR = 0.8  # pixels
_TUKEY = 4.685  # of the residuals' spread; 95 % as good as least squares without outliers
_LEAST_SPREAD = 0.05  # of normalized details, whose spread is about 1
_DAMPING = 1e-4  # keeps a direction at zero that the picture does not show, such as along a line


@dataclass(frozen=True, slots=True)
class Drift:
    """How an edit has moved a picture about its centre: right and down in pixels, and the factor of its scale."""

    dx: float
    dy: float
    scale: float

    def at(self, x: float, y: float, width: int, height: int) -> tuple[float, float]:
        """Where the point (x, y) of the source is in the edited picture, in pixels."""
        centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
        return centre_x + self.scale * (x - centre_x) + self.dx, centre_y + self.scale * (y - centre_y) + self.dy

    def matrix(self, width: int, height: int) -> np.ndarray:
        """The map [2, 3] from points of the source to points of the edited picture."""
        left, top = self.at(0, 0, width, height)
        return np.array([[self.scale, 0, left], [0, self.scale, top]])


def corner_move(drift: Drift, width: int, height: int) -> float:
    """How far the drift moves the corner that it moves most, in pixels."""
    corners = [(x, y) for x in (0.0, width - 1.0) for y in (0.0, height - 1.0)]
    moves = [np.hypot(*np.subtract(drift.at(x, y, width, height), (x, y))) for x, y in corners]
    return float(max(moves))


def register(source: np.ndarray, edited: np.ndarray) -> Drift | None:
    """Return the drift of an edited picture [H, W, 3] against its source of the same size, both uint8.

    None where the two do not match: too little of the source is left, or its details are elsewhere.
    """
    axis = _strongest_color(source)
    levels = list(zip(_pyramid(_details(source, axis)), _pyramid(_details(edited, axis)), strict=True))
    drift = _start(*levels[-1])
    for coarser, (before, after) in zip(levels[:0:-1], levels[-2::-1], strict=True):
        drift = _refine(before, after, _enlarge(drift, coarser[0].shape, before.shape))
    far = max(abs(drift.dx), abs(drift.dy)) > MAX_SHIFT_SHARE * max(levels[0][0].shape)
    if far or abs(drift.scale - 1) > MAX_SCALE_CHANGE or not _matches(*levels[0], drift):
        return None
    return _enlarge(drift, levels[0][0].shape, source.shape)


def warp(picture: np.ndarray, drift: Drift) -> np.ndarray:
    """Return an edited picture without its drift. It is resampled once; missing edges are mirrored."""
    height, width = picture.shape[:2]
    flags = cv2.INTER_LANCZOS4 | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(
        picture, drift.matrix(width, height), (width, height), flags=flags, borderMode=cv2.BORDER_REFLECT_101
    )


def _strongest_color(picture: np.ndarray) -> np.ndarray:
    """The direction in RGB, a unit vector, in which the details of a picture differ most."""
    small = cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA).astype(np.float32)
    details = (small - cv2.GaussianBlur(small, (0, 0), 2.0)).reshape(-1, 3)
    return np.linalg.eigh(details.T @ details)[1][:, -1].astype(np.float32)


def _details(picture: np.ndarray, axis: np.ndarray) -> np.ndarray:
    """The picture along a direction in RGB, without its local mean and contrast, so that a change of tone is none.

    Contrast below the floor counts less than in proportion: sensor noise is no detail.
    """
    grey = cv2.GaussianBlur(picture.astype(np.float32) @ axis / 255, (0, 0), _NOISE_BLUR)
    sigma = max(2.0, _CONTRAST_SCALE * min(grey.shape))
    detail = grey - cv2.GaussianBlur(grey, (0, 0), sigma)
    contrast = np.sqrt(cv2.GaussianBlur(detail * detail, (0, 0), sigma))
    return detail * contrast / (contrast * contrast + _CONTRAST_FLOOR**2)


def _enlarge(drift: Drift, shape: tuple[int, ...], larger: tuple[int, ...]) -> Drift:
    """The drift of a picture [H, W, …] that shows the same with more pixels."""
    return Drift(drift.dx * larger[1] / shape[1], drift.dy * larger[0] / shape[0], drift.scale)


def _pyramid(details: np.ndarray) -> list[np.ndarray]:
    if details.size > _FINEST:
        details = cv2.resize(details, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    levels = [details]
    while min(levels[-1].shape) >= 2 * _COARSEST:
        levels.append(cv2.resize(levels[-1], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))
    return levels


def _start(before: np.ndarray, after: np.ndarray) -> Drift:
    """The best of several scales without a shift, refined: the basin of the coarsest level is a pixel or two wide."""
    starts = [Drift(0.0, 0.0, scale) for scale in (1.0, 0.97, 1.03)]
    (dx, dy), _ = cv2.phaseCorrelate(before, after, cv2.createHanningWindow(before.shape[::-1], cv2.CV_32F))
    starts.append(Drift(dx, dy, 1.0))
    refined = [_refine(before, after, start) for start in starts]
    return max(refined, key=lambda drift: _agreement(before, after, drift))


def _refine(before: np.ndarray, after: np.ndarray, drift: Drift) -> Drift:
    height, width = before.shape
    ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
    xs -= (width - 1) / 2
    ys -= (height - 1) / 2
    reach = np.hypot(width, height) / 2  # makes a change of scale as large as one of a shift, at the corners
    for _ in range(_ITERATIONS):
        moved, inside = _moved(after, drift)
        if not inside.any():  # the estimate has left the picture: there is no match
            break
        mean = (moved + before) / 2  # the gradient of the mean converges twice as fast as that of one (ESM)
        slope_x, slope_y = np.gradient(mean, axis=1), np.gradient(mean, axis=0)
        columns = np.stack([slope_x, slope_y, (xs * slope_x + ys * slope_y) / reach])[:, inside]
        residual = (before - moved)[inside]
        weights = _tukey(residual, np.square(columns[:2]).sum(axis=0))
        weighted = columns * weights
        normal = weighted @ columns.T
        normal += _DAMPING * np.trace(normal) * np.eye(3) + 1e-9 * np.eye(3)
        move_x, move_y, grow = np.linalg.solve(normal, weighted @ residual)
        scale = float(np.clip(drift.scale + grow / reach, 1 - 2 * MAX_SCALE_CHANGE, 1 + 2 * MAX_SCALE_CHANGE))
        drift = Drift(drift.dx + float(move_x), drift.dy + float(move_y), scale)
        if max(abs(move_x), abs(move_y), abs(grow)) < _SETTLED:
            break
    return drift


def _moved(after: np.ndarray, drift: Drift) -> tuple[np.ndarray, np.ndarray]:
    """The edited details at the source's points, and where they are inside of the edited picture."""
    height, width = after.shape
    matrix = drift.matrix(width, height)
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    moved = cv2.warpAffine(after, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REFLECT_101)
    columns = drift.scale * np.arange(width) + matrix[0, 2]
    rows = drift.scale * np.arange(height) + matrix[1, 2]
    inside = (rows[:, None] >= 1) & (rows[:, None] <= height - 2) & (columns >= 1) & (columns <= width - 2)
    return moved, inside


def _tukey(residual: np.ndarray, steepness: np.ndarray) -> np.ndarray:
    """Tukey's weights of the residuals. Their spread is measured where the picture has details."""
    steep = steepness >= max(float(steepness.mean()), 1e-12)
    spread = max(_LEAST_SPREAD, 1.4826 * float(np.median(np.abs(residual[steep])))) if steep.any() else _LEAST_SPREAD
    share = np.clip(residual / (_TUKEY * spread), -1, 1)
    return np.square(1 - share * share)


def _agreement(before: np.ndarray, after: np.ndarray, drift: Drift) -> float:
    """The correlation of the details of both pictures, -1 to 1."""
    moved, inside = _moved(after, drift)
    a, b = before[inside], moved[inside]
    norm = float(np.sqrt(np.square(a).sum() * np.square(b).sum()))
    return float(a @ b) / norm if norm else 0.0


def _matches(before: np.ndarray, after: np.ndarray, drift: Drift) -> bool:
    """Whether enough of the source's details are in the edited picture, at their place."""
    moved, inside = _moved(after, drift)
    window = max(5.0, 0.02 * min(before.shape))

    def local(product: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(product, (0, 0), window)

    detailed = inside & (local(before * before) > 0.05)
    if not detailed.any():
        return False
    norm = np.sqrt(local(before * before) * local(moved * moved)) + 1e-6
    return float((local(before * moved)[detailed] / norm[detailed] > MIN_CORRELATION).mean()) >= MIN_MATCHED
