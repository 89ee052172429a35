"""The client's names for the neutral paths of errors, such as `references[1]`. Each dialect has a table of its own."""

import re
from collections.abc import Mapping

from server.errors import ApiError, Failure

_NUMBER = re.compile(r"\[\d+\]")


def parameter_name(path: str, names: Mapping[str, str]) -> str:
    """The name of a path: with `{"loras[]": "lora[].model"}`, `loras[1]` → `lora[1].model`.

    A name without brackets stands for every number. A path that is not in the table keeps its name.
    """
    number = _NUMBER.search(path)
    if number is None:
        return names.get(path, path)
    name = names.get(path.replace(number[0], "[]"))
    return path if name is None else name.replace("[]", number[0])


def parameter_at_fault(error: Failure | ApiError, names: Mapping[str, str]) -> str | None:
    """The client's name of the part at fault, the first of several. None where no part is."""
    if isinstance(error, ApiError) and error.parameter is not None:
        return error.parameter if isinstance(error.parameter, str) else error.parameter[0]
    return None if error.path is None else parameter_name(error.path, names)
