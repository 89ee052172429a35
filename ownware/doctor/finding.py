"""What a check has found, as one line."""

from dataclasses import dataclass
from typing import Literal

# "stops" is what the server cannot start or work with. A note is worth knowing.
State = Literal["ok", "note", "stops"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor. `text` may come from elsewhere, and its first line counts."""

    state: State
    subject: str
    text: str

    def __str__(self) -> str:
        return f"{self.state:<5}  {self.subject:<11}  {self.text.splitlines()[0] if self.text else ''}"
