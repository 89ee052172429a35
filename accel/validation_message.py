"""A one-line message for a pydantic validation error. Knows no file and no format."""

from pydantic import ValidationError


def validation_message(error: ValidationError, *, within: str = "", whole: str = "") -> str:
    """The first error with its field, as `fits.0.steps: Input should be …`.

    `within` is the path of the validated part in its document. `whole` replaces the path where no field is at fault.
    """
    first = error.errors()[0]
    path = ".".join(str(part) for part in ((within, *first["loc"]) if within else first["loc"])) or whole
    return f"{path}: {first['msg']}" if path else first["msg"]
