"""The place of a table in a page: between two marks, so that it can be written anew. Knows no figure and no file."""


def replace_between(page: str, begin: str, end: str, text: str) -> str:
    """The page with a text on lines of its own between two marks. Raises `ValueError` without them in this order."""
    start, stop = page.find(begin), page.find(end)
    if start < 0 or stop < start:
        raise ValueError(f"the page has no {begin} … {end}")
    return f"{page[: start + len(begin)]}\n{text}\n{page[stop:]}"
