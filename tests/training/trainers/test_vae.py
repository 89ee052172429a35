import numpy as np
import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl_qwenimage import AutoencoderKLQwenImage

from accel.weights.single_frame import SingleFrameVae
from pipelines.catalog.catalog import EMBEDDED_FOLDER
from training.trainers.vae import CONFIG, CROP, fold_for_training, psnr, random_crops, unfold


def crops(count: int) -> torch.Tensor:
    return next(random_crops(np.random.default_rng(0), count))


def test_crops_are_varied_and_in_range() -> None:
    pixels = crops(32)
    assert pixels.shape == (32, 3, CROP, CROP)
    assert -1 <= pixels.min() < -0.5 < 0.5 < pixels.max() <= 1
    assert len({tuple(crop[:, 0, 0].tolist()) for crop in pixels}) > 8


def test_the_norm_in_closed_form_has_the_same_gradients() -> None:
    torch.manual_seed(0)
    vae = AutoencoderKLQwenImage(**CONFIG)
    models = [SingleFrameVae(unfold(fold_for_training(vae))).requires_grad_(True) for _ in range(2)]
    models[1] = fold_for_training(unfold(models[1]))
    gradients = []
    for model in models:
        model.decoder(model.post_quant_conv(model.encode(crops(2).unsqueeze(2)))).square().mean().backward()
        gradients.append({name: p.grad for name, p in model.named_parameters() if "attentions" not in name})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], atol=1e-5, rtol=1e-3)


def test_what_was_trained_in_two_dimensions_is_the_same_as_video() -> None:
    torch.manual_seed(0)
    trained = fold_for_training(AutoencoderKLQwenImage(**CONFIG))
    video = unfold(trained).eval()
    pixels = crops(2).unsqueeze(2)
    with torch.inference_mode():
        latents = trained.encode(pixels)
        torch.testing.assert_close(video.encode(pixels, return_dict=False)[0].mode(), latents, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(
            video.decode(latents, return_dict=False)[0], trained.decode(latents), atol=1e-5, rtol=1e-4
        )


@pytest.mark.parametrize(("side", "least"), [(128, 32.0), (256, 32.0)])
def test_the_embedded_vae_keeps_pictures(side: int, least: float) -> None:
    vae = AutoencoderKLQwenImage.from_pretrained(EMBEDDED_FOLDER, subfolder="vae", torch_dtype=torch.float32)
    assert psnr(SingleFrameVae(vae), side, scenes=2) > least
