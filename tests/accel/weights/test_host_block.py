import torch
from torch import nn

from accel.weights.copy_engine import HostEngine
from accel.weights.host_block import HostBlock, weights_of


def test_the_weights_move_into_one_buffer_and_keep_values_dtypes_and_layouts() -> None:
    tensors = [
        torch.randn(5, 3),
        torch.randn(4, 4).to(torch.float8_e4m3fn).t(),
        torch.tensor(0.5, dtype=torch.bfloat16),
    ]
    before = [tensor.clone() for tensor in tensors]
    strides = [tensor.stride() for tensor in tensors]
    block = HostBlock(tensors, HostEngine())
    storage = block.buffer.untyped_storage().data_ptr()
    for tensor, old, stride in zip(tensors, before, strides, strict=True):
        assert torch.equal(tensor.float(), old.float())
        assert tensor.dtype == old.dtype
        assert tensor.stride() == stride
        assert tensor.untyped_storage().data_ptr() == storage


def test_bound_weights_use_the_copy_and_unbound_ones_come_home() -> None:
    tensor = torch.arange(6.0)
    block = HostBlock([tensor], HostEngine())
    copy = block.buffer.clone()
    block.bind(copy)
    assert tensor.untyped_storage().data_ptr() == copy.untyped_storage().data_ptr()
    assert torch.equal(tensor, torch.arange(6.0))
    block.unbind()
    assert tensor.untyped_storage().data_ptr() == block.buffer.untyped_storage().data_ptr()


def test_a_shared_weight_is_one_weight() -> None:
    layer, tied = nn.Linear(3, 3), nn.Linear(3, 3, bias=False)
    tied.weight = layer.weight
    assert len(weights_of([layer, tied, layer])) == 2
