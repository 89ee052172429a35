import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from pipelines.controlnet.preprocessors import KINDS, NEED_A_NETWORK, imitates_network, preprocess, shrink
from pipelines.limits import MAX_SIDE

SIDE = 128
# The list of the vendor's page (ControlNet preprocess API).
PUBLISHED = "canny depth mlsd normalbae openpose tile seg lineart lineart_anime shuffle scribble softedge".split()
MARKS = sorted(kind for kind, name in KINDS.items() if name in ("canny", "softedge", "lineart", "scribble"))


def control_image(image: Image.Image, kind: str, **options: int) -> NDArray[np.int32]:
    made = preprocess(image, kind, **options)
    assert made.mode == "RGB"
    assert made.size == image.size
    return np.asarray(made, dtype=np.int32)


@pytest.fixture
def ring() -> Image.Image:
    """A dark ring on a light page, as if drawn with a pen."""
    image = Image.new("RGB", (SIDE, SIDE), (230, 220, 210))
    ImageDraw.Draw(image).ellipse((32, 32, 96, 96), outline=(20, 30, 40), width=3)
    return image


@pytest.fixture
def scene() -> Image.Image:
    image = Image.linear_gradient("L").resize((SIDE, 96)).convert("RGB")
    ImageDraw.Draw(image).rectangle((20, 20, 70, 60), fill=(220, 40, 40))
    return image


def test_every_published_kind_runs_or_is_known_to_need_a_network() -> None:
    assert set(PUBLISHED) <= KINDS.keys() | NEED_A_NETWORK
    assert not KINDS.keys() & NEED_A_NETWORK


@pytest.mark.parametrize("kind", MARKS)
class TestMarks:
    """Canny edges, soft edges, line art and scribbles."""

    def test_a_ring_is_white_on_black_where_it_is(self, ring: Image.Image, kind: str) -> None:
        made = control_image(ring, kind)
        assert (made == made[..., :1]).all()
        rows, columns = np.indices((SIDE, SIDE))
        off = np.abs(np.hypot(rows - 64, columns - 64) - 31)
        assert made[off < 4].max() > 150
        assert made[off < 4].mean() > 40
        assert made[off > 10].max() < 20

    def test_a_flat_picture_has_none(self, kind: str) -> None:
        assert not control_image(Image.new("RGB", (SIDE, SIDE), (90, 120, 40)), kind).any()

    def test_they_do_not_move_with_the_brightness(self, ring: Image.Image, kind: str) -> None:
        darker = Image.fromarray((np.asarray(ring) - 15).astype(np.uint8))
        assert np.abs(control_image(darker, kind) - control_image(ring, kind)).max() <= 1

    def test_turning_the_picture_turns_them(self, ring: Image.Image, kind: str) -> None:
        image = ring.copy()
        ImageDraw.Draw(image).rectangle((8, 50, 24, 118), fill=(40, 40, 90))
        turned = control_image(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), kind)
        differs = turned[:, ::-1] != control_image(image, kind)
        assert differs.mean() < 0.04  # Canny breaks ties between equal neighbours towards one side


def test_canny_thresholds(scene: Image.Image) -> None:
    counts = [
        int((control_image(scene, "canny", low=low, high=high) > 0).sum())
        for low, high in ((5, 10), (100, 200), (250, 255))
    ]
    assert counts[0] >= counts[1] >= counts[2]
    assert counts[0] > counts[2]
    assert set(np.unique(control_image(scene, "canny"))) == {0, 255}


def test_soft_edges_are_soft_and_noise_is_not_an_edge(scene: Image.Image) -> None:
    assert len(np.unique(control_image(scene, "softedge"))) > 50
    noise = np.random.default_rng(0).integers(120, 124, (SIDE, SIDE, 3), dtype=np.uint8)
    assert control_image(Image.fromarray(noise), "softedge").mean() < 40


@pytest.mark.parametrize("kind", ["canny", "softedge"])
def test_colours_of_equal_brightness_have_an_edge(kind: str) -> None:
    red, green = (255, 0, 0), (0, 130, 0)
    image = Image.new("RGB", (SIDE, SIDE), red)
    image.paste(green, (0, 0, SIDE // 2, SIDE))
    assert np.ptp(np.asarray(image.convert("L"))) <= 1
    made = control_image(image, kind)
    assert made[:, SIDE // 2 - 2 : SIDE // 2 + 2].max() > 200


def test_scribbles_are_black_or_white(scene: Image.Image) -> None:
    assert set(np.unique(control_image(scene, "scribble"))) <= {0, 255}


@pytest.mark.parametrize("kind", ["blur", "tile", "tile_gaussian"])
def test_blur_and_tile_keep_colours_and_lose_detail(scene: Image.Image, kind: str) -> None:
    plain, made = np.asarray(scene, dtype=np.int32), control_image(scene, kind)
    assert np.abs(made.mean(axis=(0, 1)) - plain.mean(axis=(0, 1))).max() < 3
    checks = (np.indices((SIDE, SIDE)).sum(axis=0) % 2 * 255).astype(np.uint8)
    assert control_image(Image.fromarray(checks).convert("RGB"), kind).std() < 20


def test_grey_and_invert(scene: Image.Image) -> None:
    assert np.array_equal(control_image(scene, "invert"), 255 - np.asarray(scene, dtype=np.int32))
    luma = np.asarray(scene.convert("L"), dtype=np.int32)
    assert np.abs(control_image(scene, "gray") - luma[..., None]).max() <= 1


def test_shuffle_moves_content_and_says_the_same_twice(scene: Image.Image) -> None:
    made = control_image(scene, "shuffle")
    assert np.array_equal(made, control_image(scene, "shuffle"))
    assert np.abs(made - np.asarray(scene, dtype=np.int32)).mean() > 20
    red = (made[..., 0] > 150) & (made[..., 1] < 90)
    assert red.any()


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("size", [(1, 1), (2, 300), (64, 48)])
def test_any_size_and_the_picture_stays_as_it_is(kind: str, size: tuple[int, int]) -> None:
    image = Image.effect_noise(size, 80).convert("RGB")
    before = image.tobytes()
    control_image(image, kind)
    assert image.tobytes() == before


def test_an_unknown_kind() -> None:
    with pytest.raises(KeyError):
        preprocess(Image.new("RGB", (8, 8)), "depth")


def test_what_a_filter_stands_in_for() -> None:
    for kind in ("softedge", "hed", "lineart", "lineart_anime", "scribble_hed"):
        assert imitates_network(kind)
    for kind in ("canny", "tile", "scribble", "lineart_standard", "shuffle"):
        assert not imitates_network(kind)


class TestFitted:
    @pytest.mark.parametrize(
        ("size", "wanted", "expected"),
        [
            ((800, 400), (None, None), (800, 400)),
            ((800, 400), (400, None), (400, 200)),
            ((800, 400), (None, 100), (200, 100)),
            ((800, 400), (400, 400), (400, 400)),
            ((800, 400), (1000, None), (800, 400)),
            ((800, 400), (1000, 300), (800, 300)),
            ((4096, 1024), (None, None), (2048, 512)),
            ((5000, 1), (64, None), (64, 1)),
        ],
    )
    def test_sizes(
        self, size: tuple[int, int], wanted: tuple[int | None, int | None], expected: tuple[int, int]
    ) -> None:
        assert shrink(Image.new("RGB", size), *wanted).size == expected

    @given(
        st.tuples(st.integers(1, 3000), st.integers(1, 40)),
        st.none() | st.integers(64, 2048),
        st.none() | st.integers(64, 2048),
    )
    def test_it_never_grows(self, size: tuple[int, int], width: int | None, height: int | None) -> None:
        wide, high = shrink(Image.new("L", size), width, height).size
        assert 1 <= wide <= min(size[0], width or MAX_SIDE, MAX_SIDE)
        assert 1 <= high <= min(size[1], height or MAX_SIDE, MAX_SIDE)
