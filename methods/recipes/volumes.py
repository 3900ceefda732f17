"""3D pretext training: visual words are discovered, then classified and restored, then judged by an adversary.

TransVW (Haghighi 2021) is discrimination and restoration together; DiRA (TransVW) adds the adversary (DiRA §4.1). The
first phase, ``discovery``, trains nothing that is kept: its cubes serve all methods that are configured alike.
"""

from __future__ import annotations

from fractions import Fraction
from typing import ClassVar, Literal, TypedDict, cast

from pydantic import BaseModel, Field, JsonValue, model_validator

from harness.errors import ConfigurationError
from harness.spec import Frozen, MethodEntry, MethodPlan, PhasePlan
from harness.typed import Mistakes, given, read
from methods.options import VolumesOptions, without_effect
from methods.phases import (
    Budget,
    CubeConfiguration,
    CubeViews,
    DiscoveryConfiguration,
    NetworkSpec,
    Role,
    TermSpec,
    ValidationSpec,
    WordRules,
    without_nulls,
)
from methods.profiles import Volumes, load_profile, versions_of
from methods.recipes.parts import Decoder, at_batch, budget_row, handed_over, no_network
from methods.terms import Term, build
from methods.terms.visual_words import VisualWords

Stage = tuple[tuple[Role, ...], int]  # the roles of a phase's terms, and its length
DISCOVERY = "discovery"


class Terms(TypedDict):
    """Role → term."""

    discrimination: VisualWords
    restoration: Term
    adversary: Term


class VolumesRecipe(Frozen):
    """Keys of an entry with ``recipe: volumes``: the weight of each term.

    Attributes:
        visual_words: Of the classification of words; TransVW 0.01, DiRA 1.
        restoration: Of the restoration; TransVW 1, DiRA 100.
        adversary: Of the adversary; DiRA 1.
    """

    Options: ClassVar[type[BaseModel] | None] = VolumesOptions

    visual_words: float = Field(gt=0, allow_inf_nan=False)
    restoration: float = Field(gt=0, allow_inf_nan=False)
    adversary: float = Field(default=0.0, ge=0, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _both(cls, given: object) -> object:
        absent = [key for key in ("visual_words", "restoration") if isinstance(given, dict) and key not in given]
        if absent:
            raise ValueError(f'found no {" and no ".join(absent)}; expected both weights, as "visual_words: 0.01"')
        return given

    def resolve(self, entry: MethodEntry, profile: str) -> MethodPlan:
        """Return the chain of phases and how a trial obtains the backbone.

        Raises:
            ConfigurationError: If the entry is no 3D method, or its options do not fit the profile.
        """
        if entry.dimensions != 3:
            raise ConfigurationError(
                f"dimensions: found {entry.dimensions}; expected 3 for recipe volumes; correct it or take pretext"
            )
        profiled = load_profile(profile)
        scale, network = profiled.volumes, profiled.network(3)
        decoder: Decoder = "trained" if entry.transfer == "encoder_decoder" else "fresh"
        if network is None or scale is None:
            return no_network(profile, 3, decoder=decoder)
        options = read(VolumesOptions, {**given(scale.options, nulls=True), **entry.options}, "options.")
        judged = ("the key adversary", self.adversary > 0)
        unused = without_effect(entry.options, {"adversarial_loss": judged, "adversary_rate": judged})
        if unused:
            raise Mistakes(unused)
        discovers = network  # the releases share one self-discovery, whatever network learns from its words
        if options.network is not None:
            network = network.model_copy(update={"name": published_form(options.network, network.name, profile)})
        terms = self._terms(scale, options, network.name)
        rules = WordRules.model_validate(
            {**given(scale.words), "cube": list(scale.cube), "words": terms["discrimination"].words}
        )
        phases = [_discovery(scale, discovers, rules, profiled.cohorts[3])]
        rows = []
        for stage in shares(scale.amount.total or 0, adversary=self.adversary > 0):
            configuration = self._configuration(scale, options, network, terms, stage)
            name = "dis+res+adv" if "adversary" in stage[0] else "dis+res"
            run = "methods.volumes.pretext:run_phase"
            phases.append(PhasePlan(name=name, run=run, configuration=configuration.dump(), uses=(DISCOVERY,)))
            rows.append(_row(name, configuration, rules))
        return MethodPlan(
            phases=tuple(phases),
            encoder=handed_over(network, decoder=decoder).dump(),
            budget={"rule": scale.amount.budget, "phases": rows},
        )

    def _configuration(
        self, scale: Volumes, options: VolumesOptions, network: NetworkSpec, terms: Terms, stage: Stage
    ) -> CubeConfiguration:
        """Return the configuration of a phase that learns from cubes."""
        roles, count = stage
        weights: dict[Role, float] = {
            "discrimination": self.visual_words,
            "restoration": self.restoration,
            "adversary": self.adversary,
        }
        unit = scale.amount.unit
        made = CubeConfiguration(
            network=network,
            norm_splits=1,
            normalisation="none",
            views=CubeViews(cube=scale.cube, painting=options.painting or release(network.name)),
            terms=tuple(TermSpec.of(role, weights[role], terms[role]) for role in roles),
            start="last" if "adversary" in roles else "fresh",
            budget=Budget(unit=unit, count=count),
            batch=scale.batch,
            optimiser=at_batch(scale.optimiser, scale.batch, options.learning_rate),
            schedule=without_nulls(scale.schedule),
            validation=ValidationSpec(unit=unit, every=scale.validation_every, images=scale.validation_cubes),
            selection=options.selection,
            precision=options.precision,
            threads_on_cpu=1,
            versions=versions_of("networks", "cubes", "trainer", *(terms[role].component for role in roles)),
        )
        return made.model_copy(update={"kernels": "fastest"}) if options.kernels == "fastest" else made

    def _terms(self, scale: Volumes, options: VolumesOptions, network: str) -> Terms:
        """Build every term that may occur, with the profile's fields and then the entry's."""
        fields = dict(scale.terms.visual_words)
        if options.words is not None:
            fields["words"] = options.words
        fields["head"] = options.head or release(network)
        adversary = {"loss": options.adversarial_loss, "learning_rate": options.adversary_rate}
        return {
            "discrimination": cast("VisualWords", build("visual_words", "discrimination", fields)),
            "restoration": build("restoration", "restoration", {}),
            "adversary": build("adversary", "adversary", {**adversary, **scale.terms.adversary}),
        }


def _discovery(scale: Volumes, network: NetworkSpec, rules: WordRules, cohort: str) -> PhasePlan:
    """Return the phase in which words are found."""
    configuration = DiscoveryConfiguration(
        network=network,
        autoencoder=without_nulls(scale.autoencoder),
        words=rules,
        budget=Budget(unit="epochs", count=scale.autoencoder.epochs),
        threads_on_cpu=1,
        versions=versions_of("networks", "discovery", "trainer"),
    )
    run = "methods.volumes.discovery:run_phase"
    return PhasePlan(name=DISCOVERY, run=run, configuration=configuration.dump(), cohort=cohort)


def _row(phase: str, configuration: CubeConfiguration, rules: WordRules) -> dict[str, JsonValue]:
    """Return what the budget says of a phase; an epoch is every cube of a word: in the nearest scans, at each size."""
    row = budget_row(phase, configuration.budget, configuration.batch)
    if configuration.budget.unit == "epochs":
        row["images_an_epoch"] = rules.words * rules.nearest_training * (1 + rules.more_resolutions)
    return row


def published_form(wanted: str, present: str, profile: str) -> str:
    """Return the published network that an entry asks for.

    Raises:
        ConfigurationError: If the profile's network is a small one, which has one form only.
    """
    if present not in ("transvw_keras", "transvw_pytorch"):
        raise ConfigurationError(
            f'network: found {wanted}; expected none under profile "{profile}", whose network is {present}; leave the '
            "option out or take another profile"
        )
    return wanted


def release(network: str) -> Literal["keras", "pytorch"]:
    """Return which of TransVW's two releases a network belongs to; its head and its painting come from there."""
    return "pytorch" if network == "transvw_pytorch" else "keras"


def shares(total: int, *, adversary: bool) -> list[Stage]:
    """Share a budget: all of it discrimination and restoration, or ¾ of it and then ¼ with the adversary.

    The same cubes are seen either way.
    """
    both: tuple[Role, ...] = ("discrimination", "restoration")
    if not adversary:
        return [(both, total)]
    first = int(Fraction(3, 4) * total)
    return [(both, first), ((*both, "adversary"), total - first)]
