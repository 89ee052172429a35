"""Which files the components of a model are loaded from.

Names and paths only; knows no format, and imports no torch.
"""

from dataclasses import dataclass
from typing import Literal

Component = Literal["transformer", "text_encoder", "vae"]
COMPONENTS: tuple[Component, ...] = ("transformer", "text_encoder", "vae")
# The message about a file that a row names as its whole model.
SINGLE_FILE = (
    "is a single file, and no whole model; name a folder or a hub repository as `weights`, and the file as "
    "`transformer`, `text_encoder` or `vae`"
)


@dataclass(frozen=True, slots=True)
class ComponentFiles:
    """`weights` is a diffusers folder or a hub repository, and holds whatever has no file or folder of its own.

    A component of its own is a file, a folder, `owner/repository` or `owner/repository/file` on the hub.
    `text_encoder_mmproj` is the vision tower of a text encoder in GGUF. Without a name, one beside it is looked for.
    """

    weights: str
    transformer: str | None = None
    text_encoder: str | None = None
    vae: str | None = None
    text_encoder_mmproj: str | None = None

    def own(self, component: Component) -> str | None:
        """Where a component comes from, if not from `weights`."""
        return getattr(self, component)

    @property
    def replaced(self) -> tuple[Component, ...]:
        """The components that do not come from `weights`."""
        return tuple(component for component in COMPONENTS if self.own(component) is not None)

    def __str__(self) -> str:
        """`weights`, and the components that come from elsewhere."""
        named = [f"{component} {self.own(component)}" for component in self.replaced]
        if self.text_encoder_mmproj is not None:
            named.append(f"mmproj {self.text_encoder_mmproj}")
        return ", ".join((self.weights, *named))
