import pytest
import torch

from pipelines.catalog.catalog import EMBEDDED_FOLDER
from pipelines.models.checkpoint import Checkpoint
from training.samples.drafts import DraftOrder, Task, make_draft
from training.samples.encode import Batch, DraftEncoder
from training.timed.loss import batch_losses, shift_sigmas, token_weights
from training.timed.run import load_grown
from training.trainers.joint import JointModel


def batch(trained: Checkpoint, task: Task, number: int = 0) -> Batch:
    encoder = DraftEncoder(trained.vae, trained.text_encoder, torch.device("cpu"))
    return encoder.encode(make_draft(DraftOrder(number, task, (8, 8), 2), 0, trained.tokenizer))


def test_larger_pictures_get_more_noise() -> None:
    sigmas = torch.tensor([0.0, 0.5, 1.0])
    assert torch.equal(shift_sigmas(sigmas, 64), sigmas)
    assert shift_sigmas(sigmas, 256).tolist() == pytest.approx([0, 2 / 3, 1])


def test_what_an_edit_changes_counts_most(trained: Checkpoint) -> None:
    assert set(token_weights(batch(trained, "easy")).unique().tolist()) == {1.0, 3.0}
    edit = batch(trained, "edit")
    changed = (edit.latents != edit.references[:, 0]).flatten(2).any(-1)
    weights = token_weights(edit)
    assert set(weights.unique().tolist()) <= {1.0, 2.0, 6.0}
    assert not (weights[~changed] == 6).any()


@pytest.mark.slow
@torch.no_grad()
def test_half_precision_changes_little(trained: Checkpoint) -> None:
    model = load_grown(EMBEDDED_FOLDER, trained.tokenizer, 6)
    edit, flows = batch(trained, "edit"), []
    for half in (False, True):
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            flows.append(batch_losses(model, edit)[0].item())
    assert flows[1] == pytest.approx(flows[0], rel=0.03)


@pytest.mark.parametrize("task", ["words", "edit", "combine"])
def test_both_losses_train_every_part(trained: Checkpoint, task: Task) -> None:
    torch.manual_seed(0)
    model = JointModel(trained.tokenizer)
    for weight in model.transformer.parameters():  # a fresh transformer adds nothing, so nothing reaches the encoder
        torch.nn.init.normal_(weight, std=0.05)
    flow, layout = batch_losses(model, batch(trained, task))
    (flow + layout).backward()
    for part in (model.transformer, model.layout, model.encoder.model.language_model):
        assert any(weight.grad is not None and weight.grad.any() for weight in part.parameters())


def test_a_new_layout_head_can_learn_alone(trained: Checkpoint) -> None:
    model = load_grown(EMBEDDED_FOLDER, trained.tokenizer, 6)
    batch_losses(model, batch(trained, "words"), head_alone=True)[1].backward()
    assert any(weight.grad is not None and weight.grad.any() for weight in model.layout.parameters())
    assert all(weight.grad is None for weight in model.transformer.parameters())
