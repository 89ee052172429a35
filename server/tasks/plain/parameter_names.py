"""The client's names for the neutral paths of errors, such as `references[1]`. Each dialect has a table of its own."""

import re
from collections.abc import Mapping

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
