from server.tasks.kept_task import LONGEST_TEXT, kept_task, shortened

PICTURE = "iVBORw0KGgo" * 100


def test_inline_pictures_have_their_uuids_and_short_texts_stay() -> None:
    task = {"prompt": "a", "images": [PICTURE, {"image": PICTURE}, "short"], "count": 1}
    kept = kept_task(task, [(PICTURE, "uuid"), ("short", "other")])
    assert kept == {"prompt": "a", "images": ["uuid", {"image": "uuid"}, "short"], "count": 1}


def test_a_long_text_that_no_picture_came_of_is_not_kept() -> None:
    kept = kept_task({"an image": "x" * (LONGEST_TEXT + 1), "prompt": "y" * LONGEST_TEXT}, [])
    assert kept == {"an image": "x" * 64 + "… (65537 characters)", "prompt": "y" * LONGEST_TEXT}


def test_texts_are_shortened_at_every_depth() -> None:
    value = {"a": ["b" * 99, 1, None], "c": "d"}
    assert shortened(value, 98) == {"a": ["b" * 64 + "… (99 characters)", 1, None], "c": "d"}
    assert shortened(value, 99) == value
