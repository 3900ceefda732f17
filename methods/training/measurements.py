"""Was it learnt? What a phase's terms promise, measured on images that it did not train on.

A falling loss does not say so: a loss against a queue falls with the queue. Each measurement has a value that a
network which learnt nothing would have (``chance``) and, where a freshly drawn network can be asked, what that one
has (``start``). The thresholds stand in ``methods/gates.yaml``; here nothing is judged.

Everything is measured in ``eval`` mode on the last weights, with views drawn from a seed of their own. Nothing of the
training is touched.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from methods.phases import ImageViews, PretextConfiguration
from methods.terms.bound import BoundTerm, Views
from methods.training.batches import as_float, as_views, place
from methods.training.objective import Objective
from methods.views import make_views

IMAGES = 1024  # held-out images looked at, at most
AMONG = 256  # candidates among which an image's own key is looked for
FEWEST = 8  # below, nothing is said: chance would be no low bar


@dataclass(frozen=True)
class Measurement:
    """One number about one term.

    Attributes:
        measure: Its name, as ``methods/gates.yaml`` has it.
        role: The term's role in the phase.
        term: The term's type, ``module:Class``.
        views: ``undistorted``, ``distorted``, or empty where there is no such choice.
        value: What was found.
        chance: What a network that learnt nothing would have, or None.
        start: The same of the freshly drawn network, or None.
        images: Images looked at.
        among: Candidates among which one was looked for, or None.
    """

    measure: str
    role: str
    term: str
    views: str
    value: float
    chance: float | None
    start: float | None
    images: int
    among: int | None


@dataclass(frozen=True)
class HeldOut:
    """Batches of held-out views, made anew at each pass; always the same ones.

    Attributes:
        batches: Gives query, key, target (and words), float32 in [0, 1], on the CPU.
        images: How many images they hold.
        among: Images in a batch.
    """

    batches: Callable[[], Iterator[tuple[Tensor, ...]]]
    images: int
    among: int


def measure(
    objective: Objective, fresh: Objective, configuration: PretextConfiguration, views: Mapping[str, HeldOut]
) -> list[Measurement]:
    """Measure what each term of a phase promises.

    Args:
        objective: As trained; neither it nor its mode is changed.
        fresh: The same, freshly drawn; used up.
        configuration: The phase's.
        views: ``undistorted`` and, where the phase distorts, ``distorted`` → held-out views. In 3D ``distorted`` alone.

    Returns:
        The measurements; none where there are fewer than ``FEWEST`` held-out images.
    """
    device = next(objective.parameters()).device
    trained = copy.deepcopy(objective).eval()
    place(fresh, device, torch.contiguous_format)
    fresh.eval()
    types = {term.role: term.configuration.type for term in configuration.terms}
    found: list[Measurement] = []
    for name, held_out in views.items():
        if held_out.images < FEWEST:
            continue
        now, before = _look(trained, held_out, device), _look(fresh, held_out, device)
        for (role, what), value in now.items():
            if what.startswith("restoration") and name == "undistorted":
                continue  # restoring what nothing was done to is no promise
            found.append(
                Measurement(
                    measure=what,
                    role=role,
                    term=types[role],
                    views=name,
                    value=value.value,
                    chance=value.chance,
                    start=before[role, what].value if (role, what) in before else None,
                    images=held_out.images,
                    among=held_out.among if value.among else None,
                )
            )
    return found


def held_out_views(
    images: np.ndarray, rows: np.ndarray, stream_seed: int, configured: ImageViews
) -> dict[str, HeldOut]:
    """Return held-out views of 2D images: undistorted, and as the phase distorts them if it does.

    Args:
        images: The cohort, uint8 ``(N, S, S)``.
        rows: Its validation rows; the first ``IMAGES`` count, in whole batches of ``AMONG`` where there are so many.
        stream_seed: Seed of the views.
        configured: The phase's ``views``.
    """
    among = min(AMONG, len(rows))
    count = min(IMAGES, len(rows)) // among * among if among else 0
    kinds = {"undistorted": False, "distorted": True} if configured.distortion else {"undistorted": False}

    def made(distortion: bool) -> Iterator[tuple[Tensor, ...]]:
        for start in range(0, count, among):
            part = rows[start : start + among]
            of = configured.model_copy(update={"distortion": distortion})
            yield tuple(as_float(torch.from_numpy(view)) for view in make_views(images, part, stream_seed, 0, of))

    return {
        name: HeldOut(lambda distortion=distortion: made(distortion), count, among)  # type: ignore[misc]
        for name, distortion in kinds.items()
    }


@dataclass(frozen=True)
class _Value:
    value: float
    chance: float | None = None
    among: bool = False


@dataclass
class _Seen:
    """What was kept of every batch: pairs of embeddings by role, and for the other measures a row an image."""

    pairs: dict[str, list[tuple[Tensor, Tensor]]] = field(default_factory=dict)
    errors: list[Tensor] = field(default_factory=list)
    targets: list[Tensor] = field(default_factory=list)
    copied: list[Tensor] = field(default_factory=list)
    judged: list[Tensor] = field(default_factory=list)
    right: list[Tensor] = field(default_factory=list)
    words: list[Tensor] = field(default_factory=list)


@torch.no_grad()
def _look(objective: Objective, held_out: HeldOut, device: torch.device) -> dict[tuple[str, str], _Value]:
    """Return (role, measure) → value of one network on one kind of views."""
    seen = _Seen()
    for made in held_out.batches():
        views = as_views(objective, tuple(part.to(device) for part in made), 0, False)
        features = objective.backbone.encode(views.query)
        for role, term in objective.terms.items():
            embedded = _embeddings(term, views, features, objective)
            if embedded is not None:
                seen.pairs.setdefault(role, []).append(embedded)
            if views.words is not None and hasattr(term, "classify"):
                seen.right.append((term.classify(features).argmax(dim=1) == views.words).cpu())
                seen.words.append(views.words.cpu())
        if objective.needs_decoder:
            restored = objective.terms["restoration"].restore(objective.backbone.decode(features))
            seen.errors.append(_per_image(restored - views.target))
            seen.copied.append(_copying(made[0].to(device), views.target))
            seen.targets.append(views.target.cpu())
            if "adversary" in objective.terms:
                seen.judged.append(objective.terms["adversary"].judged(views.target, restored).cpu())
    return _values(objective, seen)


def _values(objective: Objective, seen: _Seen) -> dict[tuple[str, str], _Value]:
    """Return (role, measure) → value of what was seen."""
    found: dict[tuple[str, str], _Value] = {}
    for role, batches in seen.pairs.items():
        found |= {(role, name): value for name, value in _of_embeddings(objective.terms[role], batches).items()}
    if seen.right:
        counts = torch.bincount(torch.cat(seen.words)).float()
        share = float(counts.max() / counts.sum())
        found["discrimination", "word_accuracy"] = _Value(float(torch.cat(seen.right).float().mean()), share)
    if seen.errors:
        error = float(torch.cat(seen.errors).mean())
        found["restoration", "restoration_over_mean"] = _Value(error / _around_the_mean(seen.targets), 1.0)
        found["restoration", "restoration_over_copy"] = _Value(error / float(torch.cat(seen.copied).mean()), 1.0)
    if seen.judged:
        found["adversary", "discriminator_accuracy"] = _Value(float(torch.cat(seen.judged).mean()), 0.5)
    return found


def _embeddings(
    term: BoundTerm, views: Views, features: tuple[Tensor, ...], objective: Objective
) -> tuple[Tensor, Tensor] | None:
    embedded = term.embeddings(views, features, objective.backbone)
    return None if embedded is None else (embedded[0].float(), embedded[1].float())


def _of_embeddings(term: BoundTerm, batches: list[tuple[Tensor, Tensor]]) -> dict[str, _Value]:
    """Return what pairs of embeddings, batches of ``(B, D)``, say."""
    among = len(batches[0][0])
    own = torch.cat([nearest_is_own(query, key) for query, key in batches])
    query = torch.cat([query for query, _ in batches])
    key = torch.cat([key for _, key in batches])
    found = {
        "own_key": _Value(float(own.float().mean()), 1 / among, among=True),
        "spread": _Value(spread(query)),
    }
    temperature = getattr(getattr(term, "configuration", None), "temperature", None)
    if temperature is not None:
        entropy = torch.cat([own_key_entropy(query, key, temperature) for query, key in batches])
        found["key_cross_entropy"] = _Value(float(entropy.mean()), math.log(among), among=True)
    if hasattr(term, "correlate"):
        found["on_diagonal"] = _Value(on_diagonal(query, key), 0.0)
    return found


def nearest_is_own(query: Tensor, key: Tensor) -> Tensor:
    """Say for each query ``(B, D)`` whether its own key is the nearest by cosine; both sides are centred first.

    Without centring, a direction that all embeddings share would dominate every cosine. A tie counts as a miss, so
    that a collapsed network finds nothing.
    """
    query, key = (F.normalize(side - side.mean(dim=0), dim=1) for side in (query, key))
    cosine = query @ key.T
    own = cosine.diagonal().clone()
    cosine.fill_diagonal_(-math.inf)
    return own > cosine.max(dim=1).values


def own_key_entropy(query: Tensor, key: Tensor, temperature: float) -> Tensor:
    """Return −log softmax of each query's own key ``(B,)`` among all B keys, by cosine over ``temperature``."""
    query, key = F.normalize(query, dim=1), F.normalize(key, dim=1)
    own = torch.arange(len(query), device=query.device)
    return F.cross_entropy(query @ key.T / temperature, own, reduction="none")


def spread(embeddings: Tensor) -> float:
    """Return std · √D of unit embeddings ``(N, D)``: 1 if isotropic, 0 if all are one (Chen and He 2021)."""
    unit = F.normalize(embeddings, dim=1)
    return float(unit.std(dim=0).mean() * math.sqrt(unit.shape[1]))


def on_diagonal(query: Tensor, key: Tensor) -> float:
    """Return the mean correlation of the same dimension in both views, over ``(N, D)``; 0 by chance, 1 at best."""
    query, key = (side - side.mean(dim=0) for side in (query, key))
    both = (query * key).mean(dim=0)
    scale = query.pow(2).mean(dim=0).sqrt() * key.pow(2).mean(dim=0).sqrt()
    return float((both / scale.clamp_min(1e-12)).mean())


def _per_image(difference: Tensor) -> Tensor:
    return difference.float().pow(2).flatten(1).mean(dim=1).cpu()


def _copying(query: Tensor, target: Tensor) -> Tensor:
    """Return each image's error if the input were handed back; of a 2D one the better of it and its mirror image."""
    plain = _per_image(query - target)
    return torch.minimum(plain, _per_image(query.flip(-1) - target)) if query.dim() == 4 else plain


def _around_the_mean(targets: list[Tensor]) -> float:
    """Return the error of the best constant answer: the mean image of the very images that are asked for."""
    count = sum(len(part) for part in targets)
    mean = torch.stack([part.double().sum(dim=0) for part in targets]).sum(dim=0) / count
    return float(torch.cat([(part.double() - mean).pow(2).flatten(1).mean(dim=1) for part in targets]).mean())
