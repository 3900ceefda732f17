"""Mean surface distance: a metric in millimetres, lower is better."""

import math

from scipy.ndimage import distance_transform_edt

from harness.metrics import Metric, OfMasks
from harness.metrics.distance import diagonal, surface


def mean_surface_distance(predicted, true, spacing):
    """Return the mean distance from each surface to the other; with one mask empty, the diagonal of the image."""
    if not predicted.any() or not true.any():
        return 0.0 if predicted.any() == true.any() else diagonal(true.shape, spacing)
    one, other = surface(predicted), surface(true)
    away = [
        distance_transform_edt(~other, sampling=spacing)[one],
        distance_transform_edt(~one, sampling=spacing)[other],
    ]
    return float(sum(part.sum() for part in away) / sum(part.size for part in away))


MEAN_SURFACE_DISTANCE = Metric(
    name="mean_surface_distance",
    label="mean surface distance",
    unit="mm",
    scale=1.0,
    higher_is_better=False,
    high=math.inf,
    margin=0.5,
    computed=OfMasks(mean_surface_distance),
)
