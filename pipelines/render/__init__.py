"""Renders an image one denoising step at a time: `prepare`, `advance` until done, `finish`.

All state of a render is in its `RenderState`; the shared models are never changed. So progress, cancelling between
steps and taking turns need no special cases. Knows models and numbers; knows no JSON.
"""
