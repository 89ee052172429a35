"""What is wrong with data of ours that was read: where, and what pydantic says of it. Knows no file and no format."""

from pydantic import ValidationError


def first_complaint(error: ValidationError, *, within: str = "", whole: str = "") -> str:
    """The first finding as `fits.0.steps: Input should be …`.

    `within` is the part of a document that was validated, `whole` what the data is called where no member is at fault.
    """
    first = error.errors()[0]
    where = ".".join(str(part) for part in ((within, *first["loc"]) if within else first["loc"])) or whole
    return f"{where}: {first['msg']}" if where else first["msg"]
