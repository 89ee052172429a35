"""A picture for the examples of the API pages that edit one: small enough to be sent within them."""

# A red circle on white, 64×64 pixels, as PNG. The embedded checkpoint knows such shapes.
SAMPLE_PICTURE = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAEAAAABAAQMAAACQp+OdAAAABlBMVEX////cKCi5uRl6AAAAbUlEQVR42s3QsRGDQAxE0Y"
    "dMQIQpgVJckjuA0iiFEi4kYDgH5wBmICDjR5r9UqDlebwTAt/2n+RckhcTQU1P0NARdDTlirLcUxN8iKMqVGRUJ+ruMJIv1MRGMLMeVWIhWEgEK/Pu"
    "ZRi2fS1P4we9mxVt0n1lfgAAAABJRU5ErkJggg=="
)
