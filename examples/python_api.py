"""Render and edit without a server: the same pipelines in this process. Writes three files into the current folder.

.venv/bin/python examples/python_api.py
"""

import ownware

PROMPT = "a large red circle at the center on a white background"

ownware.generate(PROMPT, width=512, height=512, seed=7).save("circle.png")
ownware.edit("circle.png", "make the large red circle blue", seed=7).save("blue.png")
ownware.generate(PROMPT, width=512, height=512, seed=7, loras=["outlines"]).save("outlined.png")
