"""What tells one radiograph from another beside anatomy: how the beam falls, and what lies in and on the soft tissue.

Phantoms of one build and one finding are otherwise nearly the same picture, and then there is little for a pretext
task that tells images apart. Nothing here depends on a finding.
"""

from __future__ import annotations

import numpy as np

from tasks.phantoms.elementary import exp
from tasks.phantoms.thorax import Thorax, smooth_noise

BEAM = (0.9, 2.0, 2.0)  # deviations of the depth's logarithm along v, v² and u²: 0.45, 0.5, 0.5 from middle to border
KNOTS = (4, 9, 18)  # of three sizes of structure
UNEVENNESS = (0.10, 0.5)  # of the soft tissue: median in optical depth, and the logarithm's deviation


def vary(thorax: Thorax, generator: np.random.Generator) -> None:
    """Change the optical depth of each image of a batch, in place; findings are painted afterwards.

    The beam: stronger at one end than the other (the anode's heel), in the middle than at the rim. The soft tissue:
    structures of three sizes, in a mixture and of a strength that are the image's own.
    """
    count = len(thorax.depth)
    along, across, sideways = ((sd * generator.standard_normal((count, 1, 1))).astype(np.float32) for sd in BEAM)
    u, v = thorax.u, thorax.v
    beam = exp(np.clip(along * v + across * v**2 + sideways * u**2, -1.0, 1.0))
    beam /= beam.mean(axis=(1, 2), keepdims=True, dtype=np.float64).astype(np.float32)  # as bright as any other
    shares = generator.dirichlet(np.ones(len(KNOTS)), count).astype(np.float32)
    median, spread = UNEVENNESS
    strength = median * exp(spread * generator.standard_normal((count, 1, 1))).astype(np.float32)
    uneven = sum(
        np.sqrt(shares[:, i, None, None]) * smooth_noise(u.shape, knots, generator) for i, knots in enumerate(KNOTS)
    )
    inside = np.clip(thorax.depth, 0.0, 1.0)  # none in the air beside the patient
    thorax.depth = ((thorax.depth + strength * uneven * inside) * beam).astype(np.float32)
