"""The Triton kernel of `accel.kernels.joint_heads`. Needs Triton to be imported."""

import triton  # pyright: ignore[reportMissingImports]
import triton.language as tl  # pyright: ignore[reportMissingImports]


@triton.jit
def heads_kernel(
    target,  # [tokens, heads, HEAD], contiguous
    source,  # [tokens, heads · HEAD], contiguous
    weight,  # [HEAD]
    cosines,  # [tokens, HEAD / 2] in float32, and the sines
    sines,
    epsilon,
    heads,
    HEAD: tl.constexpr,
    HEADS_BLOCK: tl.constexpr,
    HALF_BLOCK: tl.constexpr,
):
    """Normalize and rotate all heads of one token. Neighbouring values are the real and the imaginary part."""
    token = tl.program_id(0).to(tl.int64)
    head = tl.arange(0, HEADS_BLOCK)[:, None]
    pair = tl.arange(0, HALF_BLOCK)[None, :]
    known = (head < heads) & (pair < HEAD // 2)
    place = token * heads * HEAD + head * HEAD + 2 * pair
    real = tl.load(source + place, mask=known, other=0.0).to(tl.float32)
    imaginary = tl.load(source + place + 1, mask=known, other=0.0).to(tl.float32)
    mean = tl.sum(real * real + imaginary * imaginary, axis=1, keep_dims=True) / HEAD
    inverse = 1.0 / tl.sqrt(mean + epsilon)
    one = pair < HEAD // 2
    dtype = source.dtype.element_ty
    real_weight = tl.load(weight + 2 * pair, mask=one, other=0.0).to(tl.float32)
    imaginary_weight = tl.load(weight + 2 * pair + 1, mask=one, other=0.0).to(tl.float32)
    # Rounded to the dtype after the norm and after its weight, as the separate kernels do.
    real = ((real * inverse).to(dtype).to(tl.float32) * real_weight).to(dtype).to(tl.float32)
    imaginary = ((imaginary * inverse).to(dtype).to(tl.float32) * imaginary_weight).to(dtype).to(tl.float32)
    cosine = tl.load(cosines + token * (HEAD // 2) + pair, mask=one, other=0.0)
    sine = tl.load(sines + token * (HEAD // 2) + pair, mask=one, other=0.0)
    tl.store(target + place, (real * cosine - imaginary * sine).to(dtype), mask=known)
    tl.store(target + place + 1, (real * sine + imaginary * cosine).to(dtype), mask=known)
