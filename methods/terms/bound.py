"""What a term is at run time: the tensors it sees and the interface it implements."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor, nn

from methods.options import Optimiser


@dataclass(frozen=True)
class Views:
    """One batch of views, as the network takes them; ``*S`` is H, W or X, Y, Z.

    Attributes:
        query: First view ``(B, in_channels, *S)``, normalised as the phase says.
        key: Second view, likewise; in 3D the query once more.
        target: What the query was made of, ``(B, 1, *S)`` in [0, 1]: the crop before jitter, blur, flip and distortion,
            the cube before deformation.
        step_seed: Seed of whatever a term draws in this step.
        rows: Which rows of this process's batch these are, where the batch is cut into micro-batches.
        words: Number of each cube's visual word, int64 ``(B,)``; None in 2D.
        labels: Labels of the images, where they are learnt, ``(B,)`` or ``(B, L)``; else None.
    """

    query: Tensor
    key: Tensor
    target: Tensor
    step_seed: int
    rows: slice = field(default_factory=lambda: slice(None))
    words: Tensor | None = None
    labels: Tensor | None = None


@dataclass(frozen=True)
class Forward:
    """What was computed once in a step and is shared by all terms.

    Attributes:
        features: Feature maps of the query, finest first.
        restored: The restored query ``(B, 1, *S)`` in [0, 1], or None where no term needs it.
    """

    features: tuple[Tensor, ...]
    restored: Tensor | None

    @property
    def image(self) -> Tensor:
        """The restored query, for a term that has ``needs_decoder``."""
        if self.restored is None:
            raise ValueError("nothing was restored; a term that looks at restored images has needs_decoder = True")
        return self.restored


class BoundTerm(nn.Module):
    """A term with what it trains and remembers.

    It is built from its configuration, the backbone, a seed and the image's side (in 3D the cube's smallest).

    Its state dict must hold everything that the next step depends on: a resumed run is the same run.
    """

    def forward(self, views: Views, forward: Forward, backbone: nn.Module) -> Tensor:
        """Return the term's unweighted loss, a scalar. Changes no state in ``eval`` mode."""
        raise NotImplementedError

    def embeddings(
        self, views: Views, features: tuple[Tensor, ...], backbone: nn.Module
    ) -> tuple[Tensor, Tensor] | None:
        """Return what the term compares of query and key, each ``(B, D)``, or None if it compares nothing.

        Whether it was learnt is measured by them (``methods.training.measurements``), in ``eval`` mode.

        Args:
            views: The batch.
            features: Feature maps of the query, finest first.
            backbone: The network.
        """
        return None

    def before_step(self, views: Views) -> None:
        """Compute what needs this process's whole batch and no gradient; called once a step, before any ``forward``."""

    def placed(self, backbone: nn.Module) -> None:
        """Choose how the term's own weights lie in memory; called once, when all have come to their device."""

    def constant_rate_parameters(self) -> list[nn.Parameter]:
        """Return those of the term's own parameters whose learning rate follows no schedule."""
        return []

    def opponent_parameters(self) -> list[nn.Parameter]:
        """Return the parameters that play against the backbone; they stay out of its optimiser."""
        return []

    def opponent_optimiser(self) -> Optimiser:
        """Return the opponent's own optimiser."""
        raise NotImplementedError

    def opponent_loss(self, views: Views, forward: Forward) -> Tensor | None:
        """Return what the opponent minimises after the backbone's step, on the same restored images."""
        return None

    def after_step(self, backbone: nn.Module) -> None:
        """Update what follows the backbone: momentum encoder, queue. Called after every optimiser step."""
