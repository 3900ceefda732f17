"""Supervised: an encoder trained by the suite itself on labels, from scratch.

Two things to train on: the training labels of a task (``trained_on: chestxray14``), for the paper's supervised
in-domain baseline; and generated pictures of shapes (``trained_on: shapes``), the small profiles' stand-in for a
network that has seen photographs. The stand-in is never called ImageNet, and profiles that run on real images have no
use for it.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, Field

from harness.errors import ConfigurationError
from harness.spec import Frozen, MethodEntry, MethodPlan, PhasePlan
from harness.typed import read
from methods.phases import Budget, LabelConfiguration, NetworkSpec, ValidationSpec, without_nulls
from methods.profiles import Profile, Supervision, load_profile, versions_of
from methods.recipes.parts import at_batch, budget_row, handed_over, no_network

SHAPES = "shapes"


class SupervisedOptions(Frozen):
    """Choices that the paper leaves open.

    Attributes:
        learning_rate: Overrides the profile's.
        zero_init_residual: Whether the last norm of every residual block starts at 0.
    """

    learning_rate: float | None = Field(default=None, gt=0)
    zero_init_residual: bool = False


class SupervisedRecipe(Frozen):
    """Keys of an entry with ``recipe: supervised``.

    Attributes:
        trained_on: A task whose training labels are learnt, which the entry must also name in ``saw_labels_of``; or
            ``shapes``.
    """

    Options: ClassVar[type[BaseModel] | None] = SupervisedOptions

    trained_on: str

    def resolve(self, entry: MethodEntry, profile: str) -> MethodPlan:
        """Return a plan of one phase.

        Raises:
            ConfigurationError: If the entry hides whose labels it saw.
        """
        if self.trained_on != SHAPES and self.trained_on not in entry.saw_labels_of:
            raise ConfigurationError(
                f'trained_on: found "{self.trained_on}", whose labels saw_labels_of does not name; expected an entry '
                f"that declares the labels it saw; add saw_labels_of: [{self.trained_on}]"
            )
        if entry.dimensions != 2:
            raise ConfigurationError(
                f"dimensions: found {entry.dimensions}; expected 2 for recipe supervised; correct it or take another"
            )
        scale = load_profile(profile)
        options = read(SupervisedOptions, entry.options, "options.")
        network = scale.network(entry.dimensions, zero_init_residual=options.zero_init_residual)
        if network is None:
            return no_network(profile, entry.dimensions)
        encoder = handed_over(network).dump()
        if self.trained_on not in scale.supervised:
            return MethodPlan(encoder=encoder, unavailable=self._absent(profile))
        how = scale.supervised[self.trained_on]
        configuration = self._configuration(scale, how, options, network)
        generated = self.trained_on == SHAPES
        name = f"supervised on {'synthetic non-medical shapes' if generated else self.trained_on}"
        phase = PhasePlan(
            name=name,
            run="methods.supervised:run_phase",
            configuration=configuration.dump(),
            cohort=None if generated else self.trained_on,
        )
        row = budget_row(name, configuration.budget, how.batch)
        return MethodPlan(phases=(phase,), encoder=encoder, budget={"rule": "supervised", "phases": [row]})

    def _absent(self, profile: str) -> str:
        """Say why the profile does not train on this."""
        if self.trained_on == SHAPES:
            return f'profile "{profile}" takes the imagenet entry, not a stand-in of generated shapes'
        return (
            f'profile "{profile}" says nothing of supervised training on {self.trained_on}; '
            "add it under supervised in methods/profiles.yaml"
        )

    def _configuration(
        self, scale: Profile, how: Supervision, options: SupervisedOptions, network: NetworkSpec
    ) -> LabelConfiguration:
        generated = self.trained_on == SHAPES
        if generated and how.generator is None:
            raise ConfigurationError(
                f"supervised.{SHAPES}: found no generator; expected how many shapes are drawn; add generator: to the "
                "profile in methods/profiles.yaml"
            )
        return LabelConfiguration(
            network=network,
            image_px=scale.image_px,
            generator=how.generator if generated else None,
            loss="cross_entropy" if generated else "binary_cross_entropy",
            budget=Budget(unit=how.unit, count=how.count),
            batch=how.batch,
            optimiser=at_batch(how.optimiser, how.batch, options.learning_rate),
            schedule=without_nulls(how.schedule),
            validation=ValidationSpec(
                unit=scale.amount.unit, every=scale.validation_every, images=scale.validation_images
            ),
            selection="lowest_validation_loss",
            precision="float32",
            threads_on_cpu=1,
            versions=versions_of("networks", "views", "trainer", "supervised", *(["shapes"] if generated else [])),
        )
