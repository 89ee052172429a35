"""One task, independent of its dialect, before its pictures are fetched.

Frozen data. A dialect has looked up every name in the catalogue and translated every unit. Knows no wire format, and no
parameter's name but those in `parameters`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from accel.cache.plan import CachePlan
from pipelines.catalog.catalog import ModelEntry
from pipelines.request import ControlMode, FaceRefinement, LoraUse, Outpaint, Sampler
from server.delivery.targets import Upload, Webhook
from server.jobs.job import Priority
from server.media.encode import Encoding


@dataclass(frozen=True, slots=True)
class ControlSpec:
    """A `ControlUse` whose control image is still a text."""

    name: str
    weights: str
    image: str
    weight: float
    mode: ControlMode
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class GuardSpec:
    """A `DriftGuard` whose mask is still a text. `auto` finds the changed parts without a mask."""

    reference: int | None
    align: bool
    auto: bool = False
    mask: str | None = None


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """One task. A picture is the text that names it: a UUID, a URL, a data URI or base64.

    `dialect` is the name of the dialect that parsed it. `task` is what the client sent, to be shown again. `wait` says
    whether the client waits for the images. `ttl` is in seconds; None means the server's own. Without `width` and
    `height` the picture at the path `size_picture` decides the size, or with None the last reference. A `seed` of None
    is random. `picture_sides` are the least and the most pixels that a side of a picture may have. The threshold of a
    TeaCache plan is the client's distance: the model's profile turns it into a threshold. `parameters` has the client's
    names of the parts at fault in errors and warnings, such as `seed_image` or `cache`. `check_content` says whether
    images are checked for being safe for work; None is the server's default.
    """

    owner: str
    dialect: str
    task_id: str
    task: Mapping[str, Any]
    wait: bool
    model: ModelEntry
    prompt: str
    negative_prompt: str | None
    steps: int
    sampler: Sampler
    true_cfg_scale: float
    encoding: Encoding
    ttl: int | None = None
    width: int | None = None
    height: int | None = None
    size_picture: str | None = None
    seed: int | None = None
    count: int = 1
    references: tuple[str, ...] = ()
    seed_image: str | None = None
    strength: float = 1.0
    mask: str | None = None
    mask_margin: int | None = None
    outpaint: Outpaint | None = None
    loras: tuple[LoraUse, ...] = ()
    controls: tuple[ControlSpec, ...] = ()
    faces: FaceRefinement | None = None
    cache: CachePlan | None = None
    watermark: str | None = None
    guard: GuardSpec | None = None
    picture_sides: tuple[int, int] | None = None
    webhook: Webhook | None = None
    upload: Upload | None = None
    check_content: bool | None = None
    priority: Priority = "normal"
    warnings: tuple[str, ...] = ()
    parameters: Mapping[str, str] = field(default_factory=dict)

    @property
    def pictures(self) -> dict[str, str]:
        """The text of each picture, by its path: `references[0]`, `seed_image`, `mask`, and so on."""
        texts: dict[str, str | None] = {f"references[{n}]": text for n, text in enumerate(self.references)}
        texts |= {"seed_image": self.seed_image, "mask": self.mask}
        texts |= {f"controls[{n}].control_image": control.image for n, control in enumerate(self.controls)}
        texts["guard.mask"] = None if self.guard is None else self.guard.mask
        return {path: text for path, text in texts.items() if text is not None}

    def with_pictures(self, texts: Mapping[str, str]) -> "TaskSpec":
        """The same task whose pictures have other texts, by those that they have now."""

        def changed(text: str | None) -> str | None:
            return None if text is None else texts.get(text, text)

        return replace(
            self,
            references=tuple(texts.get(text, text) for text in self.references),
            seed_image=changed(self.seed_image),
            mask=changed(self.mask),
            guard=None if self.guard is None else replace(self.guard, mask=changed(self.guard.mask)),
            controls=tuple(replace(each, image=texts.get(each.image, each.image)) for each in self.controls),
        )

    def parameter(self, path: str) -> str:
        """The client's name of a part of its task."""
        return self.parameters.get(path, path)
