"""The ControlNet before training, and its control images."""

import numpy as np
import torch

from training.data.scenes import Scene, Thing, thing_cover
from training.trainers.architecture import WIDTH, fresh_transformer
from training.trainers.controlnet import BLOCKS, draw_edges, fresh_controlnet

SCENE = Scene("white", (Thing("triangle", "red", "large", "center"),))


def test_a_fresh_net_is_the_first_blocks_and_adds_nothing() -> None:
    transformer = fresh_transformer()
    net = fresh_controlnet(transformer)
    ours, theirs = net.state_dict(), transformer.state_dict()
    copied = {name for name in ours if not name.startswith("controlnet_")}
    assert all(torch.equal(ours[name], theirs[name]) for name in copied)
    assert {"txt_norm.weight", f"transformer_blocks.{BLOCKS - 1}.attn.to_q.weight"} <= copied
    residuals = net(
        hidden_states=torch.randn(1, 4, 64),
        controlnet_cond=torch.randn(1, 4, 64),
        encoder_hidden_states=torch.randn(1, 3, WIDTH),
        timestep=torch.tensor([0.5]),
        img_shapes=[[(1, 2, 2)]],
        return_dict=False,
    )
    assert [residual.shape for residual in residuals] == [(1, 4, WIDTH)] * BLOCKS
    assert not any(residual.any() for residual in residuals)


def test_edges_run_along_the_shape() -> None:
    lines = np.asarray(draw_edges(SCENE, 128))[..., 0] > 127
    cover = thing_cover(SCENE, 0, 128, 128)
    rows, columns = np.gradient(cover)
    assert lines.any()
    assert (np.hypot(rows, columns)[lines] > 0).mean() > 0.9
    assert not lines[cover.astype(bool) & (np.hypot(rows, columns) == 0)].any()
