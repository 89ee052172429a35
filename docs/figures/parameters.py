"""Draws docs/figures/parameters.png: a pair of pictures for each parameter that changes the picture.

    ownware serve --weights embedded --face-refinement &
    python -m docs.figures.parameters --out docs/figures/parameters.png [--url http://127.0.0.1:8000] [--key KEY]

Sends the tasks to a running server, so the figure shows what a client gets. The input pictures are drawn here, in the
style of the embedded checkpoint's training data. The figure's text chunk `weights` has the fingerprint of the weights,
as the receipts of the pictures say it.
"""

import argparse
import base64
import io
import math
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import matplotlib
from PIL import Image, ImageChops, ImageDraw, ImageFilter
from PIL.PngImagePlugin import PngInfo

from pipelines.receipt import read_receipt
from server.media.metadata import KEYWORD

SIDE, THUMB = 256, 160  # pixels of a picture, and of its tile in the figure
COLUMNS, LABEL, FRAME = 3, 30, 10
DIFFERENCE_GAIN = 6  # the factor of the difference of two pictures
# Leaves the place open, for the control image to decide.
OPEN_PROMPT = {"positivePrompt": "a large green circle on a white background"}


def data_uri(picture: Image.Image) -> str:
    """Encode a picture as a data URI."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def disc_picture(
    background: str = "white", colour: str = "blue", box: tuple[int, int, int, int] = (64, 64, 192, 192)
) -> str:
    """Draw a disc on a plain background."""
    picture = Image.new("RGB", (SIDE, SIDE), background)
    ImageDraw.Draw(picture).ellipse(box, fill=colour)
    return data_uri(picture)


def half_mask(softness: int = 0) -> str:
    """Draw a mask with a white right half. Its edge rises over `softness` pixels."""
    row = [min(255, max(0, 255 * (x - SIDE // 2 + softness) // (softness + 1))) for x in range(SIDE)]
    mask = Image.new("L", (SIDE, 1))
    mask.putdata(row)
    return data_uri(mask.resize((SIDE, SIDE)))


def small_mask() -> str:
    """Draw a mask with a small white square."""
    mask = Image.new("L", (SIDE, SIDE))
    mask.paste(255, (150, 30, 220, 100))
    return data_uri(mask)


def disc_edges() -> str:
    """Draw the outline of a disc, as Canny's filter does."""
    picture = Image.new("RGB", (SIDE, SIDE), "black")
    ImageDraw.Draw(picture).ellipse((8, 8, 115, 115), outline="white")
    return data_uri(picture)


PROMPT = {"positivePrompt": "a large red circle at the center on a white background"}
OTHER_PROMPT = {"positivePrompt": "a large green square at the center on a white background"}
SEED = {"seedImage": disc_picture()}
EDIT: dict[str, Any] = {
    "model": "runware:108@20",
    "inputs": {"referenceImages": [disc_picture()]},
    "positivePrompt": "make the circle red",
    "width": None,
    "height": None,
}
BACKGROUND = {"positivePrompt": "change the background to yellow"}


def portrait(blur: int) -> dict[str, Any]:
    """Return the parameters of a portrait: a public-domain photograph in matplotlib, blurred by a radius in pixels."""
    with Image.open(Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg") as photograph:
        picture = photograph.convert("RGB").resize((SIDE, SIDE + 48))
    seed = data_uri(picture.filter(ImageFilter.GaussianBlur(blur)))
    return {"inputs": {"seedImage": seed, "strength": 0}, "height": SIDE + 48}


PORTRAIT, HAZY_PORTRAIT = portrait(blur=0), portrait(blur=2)


def controlled(**how: Any) -> dict[str, Any]:
    """Return the parameters of a ControlNet with the edges of a disc, and a prompt that leaves its place open."""
    return OPEN_PROMPT | {"controlNet": [{"model": "edges", "guideImage": disc_edges(), **how}]}


def cached(**how: Any) -> dict[str, Any]:
    """Return the parameters of a step cache."""
    return {"acceleratorOptions": how}


def refined(of: dict[str, Any] = PORTRAIT, **how: Any) -> dict[str, Any]:
    """Return the parameters of a portrait with face refinement."""
    return of | {"advancedFeatures": {"ultralytics": {"strength": 0.6} | how}}


@dataclass(frozen=True)
class Pair:
    """Two tasks that differ in one parameter."""

    label: str
    before: dict[str, Any] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)

    @property
    def tasks(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The parameters of both tasks. The second has those of the first too."""
        return self.before, self.before | self.after


PAIRS = (
    Pair("positivePrompt", {}, OTHER_PROMPT),
    Pair("negativePrompt: red", {}, {"negativePrompt": "a red circle"}),
    Pair("seed 7, 8", {}, {"seed": 8}),
    Pair("numberResults: image 1, image 2", {}, {"numberResults": 2}),
    Pair("steps 3, 20", {"steps": 3}, {"steps": 20}),
    Pair("CFGScale 1, 4", {"CFGScale": 1}, {"CFGScale": 4}),
    Pair("settings.trueCFGScale 4, 9", {}, {"settings": {"trueCFGScale": 9}}),
    Pair("scheduler Default, Euler a", {}, {"scheduler": "Euler a"}),
    Pair("width, height", {}, {"width": 384, "height": 192}),
    Pair("outputQuality 95, 20", {}, {"outputQuality": 20, "outputFormat": "JPG"}),
    Pair("seedImage, strength 0.2, 0.8", {"inputs": SEED | {"strength": 0.2}}, {"inputs": SEED | {"strength": 0.8}}),
    Pair(
        "maskImage: right half",
        {"inputs": SEED | {"strength": 1}},
        {"inputs": SEED | {"strength": 1, "maskImage": half_mask()}},
    ),
    Pair(
        "maskImage: hard, soft",
        {"inputs": SEED | {"strength": 1, "maskImage": half_mask()}},
        {"inputs": SEED | {"strength": 1, "maskImage": half_mask(softness=80)}},
    ),
    Pair("maskMargin: none, 32", {"inputs": SEED | {"strength": 1, "maskImage": small_mask()}}, {"maskMargin": 32}),
    Pair(
        "outpaint left, right 64",
        {"inputs": SEED | {"strength": 0}},
        {"inputs": SEED, "outpaint": {"left": 64, "right": 64}, "width": SIDE + 128},
    ),
    Pair(
        "outpaint top 128; bottom 128",
        *({"inputs": SEED, "outpaint": {side: 128}, "height": SIDE + 128} for side in ("top", "bottom")),
    ),
    Pair(
        "outpaint.blur 0, 32",
        {"inputs": SEED, "outpaint": {"left": 64, "right": 64}, "width": SIDE + 128},
        {"outpaint": {"left": 64, "right": 64, "blur": 32}},
    ),
    Pair("lora: outlines", {}, {"lora": [{"model": "outlines"}]}),
    Pair("lora weight 0.5, 1.5", *({"lora": [{"model": "outlines", "weight": weight}]} for weight in (0.5, 1.5))),
    Pair("controlNet: edges of a disc", OPEN_PROMPT, controlled()),
    Pair("controlNet weight 0.5, 1.5", *(controlled(weight=weight) for weight in (0.5, 1.5))),
    Pair("controlMode prompt, controlnet", *(controlled(controlMode=mode) for mode in ("prompt", "controlnet"))),
    Pair("controlNet startStep 15, 0", *(controlled(startStep=start) for start in (15, 0))),
    Pair("controlNet endStep 4, 20", *(controlled(endStep=end) for end in (4, 20))),
    Pair("controlNet startStepPercentage 75, 0", *(controlled(startStepPercentage=start) for start in (75, 0))),
    Pair("controlNet endStepPercentage 20, 100", *(controlled(endStepPercentage=end) for end in (20, 100))),
    Pair("fbCache: off, on", {}, cached(fbCache=True)),
    Pair("fbCacheThreshold 0.25, 0", *(cached(fbCache=True, fbCacheThreshold=value) for value in (0.25, 0))),
    Pair("teaCacheDistance 0.3, 1", *(cached(teaCache=True, teaCacheDistance=value) for value in (0.3, 1))),
    Pair("dbCacheThreshold 0.25, 0", *(cached(dbCache=True, dbCacheThreshold=value) for value in (0.25, 0))),
    Pair(
        "dbCacheSkipInterval 1, 3",
        *(cached(dbCache=True, dbCacheThreshold=0, dbCacheSkipInterval=value) for value in (1, 3)),
    ),
    Pair(
        "cacheMaxConsecutiveSteps 1, 5",
        *(cached(fbCache=True, fbCacheThreshold=0, cacheMaxConsecutiveSteps=value) for value in (1, 5)),
    ),
    Pair(
        "cacheStartStep 12, 1",
        *(cached(fbCache=True, fbCacheThreshold=0, cacheStartStep=value) for value in (12, 1)),
    ),
    Pair(
        "cacheEndStep 8, 20",
        *(cached(fbCache=True, fbCacheThreshold=0, cacheEndStep=value) for value in (8, 20)),
    ),
    Pair(
        "cacheStartStepPercentage 60, 5",
        *(cached(fbCache=True, fbCacheThreshold=0, cacheStartStepPercentage=value) for value in (60, 5)),
    ),
    Pair(
        "cacheEndStepPercentage 40, 100",
        *(cached(fbCache=True, fbCacheThreshold=0, cacheEndStepPercentage=value) for value in (40, 100)),
    ),
    Pair("ultralytics: off, strength 0.1", PORTRAIT, refined(strength=0.1)),
    Pair("ultralytics.strength 0.1, 0.9", *(refined(strength=value) for value in (0.1, 0.9))),
    Pair("ultralytics.steps 2, 40", *(refined(steps=value) for value in (2, 40))),
    Pair("ultralytics.CFGScale 1, 8", *(refined(CFGScale=value) for value in (1, 8))),
    Pair("ultralytics.positivePrompt: red", refined(), refined(positivePrompt="a red background")),
    Pair("ultralytics.negativePrompt: red", refined(), refined(negativePrompt="a red background")),
    Pair(
        "ultralytics.confidence 0.1, 1 (blurred)",
        *(refined(HAZY_PORTRAIT, confidence=value) for value in (0.1, 1)),
    ),
    Pair("ultralytics.maskPadding 0, 20", *(refined(maskPadding=value) for value in (0, 20))),
    Pair("ultralytics.maskBlur 0, 40", *(refined(maskBlur=value) for value in (0, 40))),
    Pair("referenceImages: colour", EDIT, {"inputs": {"referenceImages": [disc_picture("yellow", "black")]}}),
    Pair("positivePrompt of an edit", EDIT, BACKGROUND),
    Pair("ownware.alignTo: off, 0", EDIT, {"ownware": {"alignTo": 0}}),
    Pair("ownware.keepUnchanged: off, auto", EDIT, {"ownware": {"keepUnchanged": "auto"}}),
    Pair(
        "two references on 108@22",
        EDIT | {"model": "runware:108@22"},
        {
            "inputs": {"referenceImages": [disc_picture(), disc_picture("white", "green")]},
            "positivePrompt": "the shape of picture 1 in the color of picture 2",
        },
    ),
)


def render(web: httpx2.Client, url: str, changes: dict[str, Any]) -> Image.Image:
    """Send one task and fetch its last picture. Exits with the message of an error."""
    task = {
        "taskType": "imageInference",
        "taskUUID": str(uuid.uuid4()),
        "model": "runware:108@1",
        **PROMPT,
        "width": SIDE,
        "height": SIDE,
        "seed": 7,
        "steps": 20,
        "outputFormat": "PNG",
    }
    task = {name: value for name, value in (task | changes).items() if value is not None}
    body = web.post(f"{url}/v1", json=[task]).json()
    if body.get("errors"):
        raise SystemExit(f"{changes}: {body['errors'][0]['message']}")
    return Image.open(io.BytesIO(web.get(body["data"][-1]["imageURL"]).content)).convert("RGB")


def contact_sheet(pairs: dict[str, tuple[Image.Image, Image.Image]]) -> Image.Image:
    """Draw the pairs in rows, each under its label. Pictures of one size are followed by their difference."""
    wide, high = 3 * THUMB + 4 * FRAME, THUMB + LABEL + FRAME
    sheet = Image.new("RGB", (COLUMNS * wide, math.ceil(len(pairs) / COLUMNS) * high), "white")
    pen = ImageDraw.Draw(sheet)
    for number, (label, pictures) in enumerate(pairs.items()):
        left, top = number % COLUMNS * wide + FRAME, number // COLUMNS * high
        pen.text((left, top + 10), label, fill="black", font_size=15)
        tiles = [*pictures]
        if pictures[0].size == pictures[1].size:
            amplify = [min(255, DIFFERENCE_GAIN * v) for v in range(256)] * 3
            tiles.append(ImageChops.difference(*pictures).point(amplify))
        for place, picture in enumerate(tiles):
            shown = picture.copy()
            shown.thumbnail((THUMB, THUMB), Image.Resampling.LANCZOS)
            corner = (left + place * (THUMB + FRAME // 2), top + LABEL)
            sheet.paste(shown, corner)
            edge = (corner[0] - 1, corner[1] - 1, corner[0] + shown.width, corner[1] + shown.height)
            pen.rectangle(edge, outline="silver")
    return sheet


def weights_of(pictures: Iterable[Image.Image]) -> str:
    """Return the fingerprint of the weights that all pictures were drawn with, from the receipts of the PNGs.

    Exits when they differ, or when there is none.
    """
    found = {read_receipt(picture.info[KEYWORD]).model.digest for picture in pictures if KEYWORD in picture.info}
    if len(found) != 1 or None in found:
        raise SystemExit(f"the pictures are not of one set of weights, but of {found}")
    return str(found.pop())


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the PNG to write")
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="a running server")
    parser.add_argument("--key", default="any", help="its API key")
    options = parser.parse_args()
    pairs = {}
    with httpx2.Client(timeout=300, headers={"Authorization": f"Bearer {options.key}"}) as web:
        for pair in PAIRS:
            first, second = (render(web, options.url, task) for task in pair.tasks)
            pairs[pair.label] = (first, second)
            print(pair.label, flush=True)
    text = PngInfo()
    text.add_text("weights", weights_of(picture for pictures in pairs.values() for picture in pictures))
    contact_sheet(pairs).quantize(256).save(options.out, optimize=True, pnginfo=text)


if __name__ == "__main__":
    main()
