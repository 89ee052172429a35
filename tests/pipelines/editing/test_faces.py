from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image

from pipelines.editing.canvas import make_canvas
from pipelines.editing.faces import face_request, find_faces
from pipelines.generate import generate
from pipelines.models.checkpoint import Checkpoint, LoadedModel
from pipelines.pictures.reader import PictureReader
from pipelines.request import FaceRefinement, Reference
from tests.pipelines.render.renders import asked, entry

HOW = FaceRefinement("a face", "blurry", true_cfg_scale=2.0, steps=4, strength=0.5, mask_padding=10, mask_blur=3)


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    """A portrait of Grace Hopper (in the public domain) that matplotlib ships, 256 × 300 pixels."""
    path = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    with Image.open(path) as image:
        return image.convert("RGB").resize((256, 304))


class TestFind:
    def test_a_face(self, photo: Image.Image) -> None:
        ((left, top, right, bottom),) = find_faces(photo, 0.5)
        assert 60 < left < 100 < right < 200
        assert 50 < top < 100 < bottom < 190

    def test_two_faces(self, photo: Image.Image) -> None:
        face = photo.crop((50, 30, 210, 220))
        both = Image.new("RGB", (340, 200), "white")
        both.paste(face, (5, 5))
        both.paste(face, (175, 5))
        boxes = sorted(find_faces(both, 0.5))
        assert len(boxes) == 2
        assert boxes[0][2] < 170 < boxes[1][0]

    def test_confidence_is_a_threshold(self, photo: Image.Image) -> None:
        counts = [len(find_faces(photo, confidence / 4)) for confidence in (0, 1, 2, 3, 4, 8)]
        assert counts == sorted(counts, reverse=True)
        assert counts[2] == 1
        assert counts[-1] == 0

    def test_no_face(self) -> None:
        assert find_faces(Image.linear_gradient("L").convert("RGB"), 0.1) == ()


class TestRequest:
    def test_it_draws_the_face_and_its_surroundings(self, photo: Image.Image, tmp_path: Path) -> None:
        whole = asked(width=256, height=304, steps=9)
        refining = face_request(photo, (80, 70, 180, 170), whole, HOW, tmp_path)
        assert (refining.prompt, refining.negative_prompt, refining.steps, refining.strength) == (
            "a face",
            "blurry",
            4,
            0.5,
        )
        canvas = make_canvas(refining, PictureReader())
        assert canvas is not None
        assert canvas.mask is not None
        assert canvas.mask[60:180, 70:190].min() > 0.1  # with its padding, and soft at the edge
        assert canvas.mask[100:140, 110:150].min() == 1
        assert not canvas.mask[:40].any()
        assert canvas.box[2] - canvas.box[0] < 256

    def test_a_face_at_the_edge(self, photo: Image.Image, tmp_path: Path) -> None:
        refining = face_request(photo, (0, 0, 40, 50), asked(width=256, height=304), HOW, tmp_path)
        assert make_canvas(refining, PictureReader()) is not None


class TestDrawing:
    """A seed image with strength 0 stands in for a finished picture with a face."""

    def drawn(
        self, checkpoint: Checkpoint, photo: Image.Image, path: Path, how: FaceRefinement | None
    ) -> tuple[np.ndarray, tuple[str, ...], list[tuple[int, int]]]:
        photo.save(path)
        seed_image = Reference(path, "", *photo.size)
        request = asked(width=256, height=304, seed_image=seed_image, strength=0.0, faces=how)
        heard: list[tuple[int, int]] = []
        native = replace(entry("text_to_image"), native_area=64 * 64)
        generated = generate(request, 0, LoadedModel(checkpoint), native, lambda *steps: heard.append(steps))
        picture, warnings = generated.image, generated.warnings
        return np.asarray(picture), warnings, heard

    def test_only_the_face_changes(self, checkpoint: Checkpoint, photo: Image.Image, tmp_path: Path) -> None:
        refined, warnings, heard = self.drawn(checkpoint, photo, tmp_path / "photo.png", HOW)
        changed = (refined != np.asarray(photo)).any(axis=2)
        assert changed[100:140, 100:150].mean() > 0.9
        assert not changed[:30].any()
        assert not changed[230:].any()
        assert warnings == ()
        assert len(heard) == 1 + 2  # once before the first step, and after each step of half of four

    def test_without_a_face_it_is_said(self, checkpoint: Checkpoint, photo: Image.Image, tmp_path: Path) -> None:
        flat = Image.new("RGB", photo.size, "white")
        picture, warnings, _ = self.drawn(checkpoint, flat, tmp_path / "flat.png", HOW)
        assert (picture == 255).all()
        assert warnings == ("No face was found, so none was refined.",)

    def test_without_asking_there_is_no_refinement(
        self, checkpoint: Checkpoint, photo: Image.Image, tmp_path: Path
    ) -> None:
        picture, warnings, _ = self.drawn(checkpoint, photo, tmp_path / "photo.png", None)
        assert np.array_equal(picture, np.asarray(photo))
        assert warnings == ()
