"""Which finished pictures are not safe for work. Knows no request and no wire."""

from PIL import Image

from pipelines.detection.detector import detect

# The least score of each label that counts. The detector scores a clear finding 0.5 to 0.9, and reports from 0.2 on:
# half is the least that is more likely right than wrong. Covered parts, feet, armpits, bellies and male breasts do not
# count.
THRESHOLDS = {
    "FEMALE_BREAST_EXPOSED": 0.5,
    "FEMALE_GENITALIA_EXPOSED": 0.5,
    "MALE_GENITALIA_EXPOSED": 0.5,
    "BUTTOCKS_EXPOSED": 0.5,
    "ANUS_EXPOSED": 0.5,
}


def is_unsafe(picture: Image.Image) -> bool:
    """Whether an RGB picture shows a part of `THRESHOLDS`."""
    return any(part.score >= THRESHOLDS.get(part.label, 2.0) for part in detect(picture))
