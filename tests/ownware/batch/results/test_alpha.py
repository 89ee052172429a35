import numpy as np
from PIL import Image, ImageDraw

from ownware.batch.results.alpha import keep_alpha

SIZE = (100, 80)


def sticker() -> Image.Image:
    """A half-transparent red square on nothing."""
    image = Image.new("RGBA", SIZE, (10, 20, 30, 0))
    image.paste((200, 0, 0, 128), (30, 20, 70, 60))
    return image


def on_white(image: Image.Image) -> Image.Image:
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def test_an_edit_that_changes_nothing_keeps_the_source() -> None:
    noisy = np.asarray(on_white(sticker()), dtype=int) + np.random.default_rng(0).integers(-8, 9, (*SIZE[::-1], 3))
    result = keep_alpha(Image.fromarray(noisy.clip(0, 255).astype(np.uint8)), sticker())
    assert np.array_equal(np.asarray(result), np.asarray(sticker()))


def test_what_is_drawn_is_opaque_and_the_rest_transparent() -> None:
    edited = on_white(sticker())
    ImageDraw.Draw(edited).rectangle((75, 5, 94, 24), fill=(0, 0, 255))
    result = keep_alpha(edited, sticker())
    assert result.getpixel((85, 15)) == (0, 0, 255, 255)
    assert result.getpixel((75, 5)) == (0, 0, 255, 255)  # at the edge too
    assert result.getpixel((5, 70)) == (10, 20, 30, 0)
    assert result.getpixel((50, 40)) == (200, 0, 0, 128)


def test_the_faint_shadow_of_what_is_drawn_belongs_to_it() -> None:
    edited = on_white(sticker())
    draw = ImageDraw.Draw(edited)
    draw.rectangle((78, 5, 96, 40), fill=(235, 235, 235))  # 20 levels, as little as an error of the VAE
    draw.rectangle((78, 5, 96, 20), fill=(0, 0, 255))
    result = keep_alpha(edited, sticker())
    assert result.getpixel((90, 34)) == (235, 235, 235, 255)


def test_a_result_of_another_size() -> None:
    edited = on_white(sticker()).resize((200, 160))
    result = keep_alpha(edited, sticker())
    assert result.size == (200, 160)
    assert result.getchannel("A").getpixel((5, 5)) == 0


def test_a_mask_says_where_something_was_drawn() -> None:
    edited = Image.new("RGB", SIZE, (255, 255, 255))
    mask = Image.new("L", (50, 40), 0)
    mask.paste(255, (0, 0, 25, 40))
    result = np.asarray(keep_alpha(edited, sticker(), mask))
    assert (result[:, :48, 3] == 255).all()
    assert np.array_equal(result[:, 54:, 3], np.asarray(sticker())[:, 54:, 3])
