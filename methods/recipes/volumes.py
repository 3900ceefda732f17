"""3D pretext training: visual words are discovered, then classified and restored, then judged by an adversary.

TransVW (Haghighi 2021) is discrimination and restoration together; DiRA (TransVW) adds the adversary (DiRA §4.1). The
first phase, ``discovery``, trains nothing that is kept: its cubes serve all methods that are configured alike.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, Field, model_validator

from harness.errors import ConfigurationError
from harness.spec import Frozen, MethodEntry, MethodPlan, PhasePlan
from harness.typed import Mistakes, given, read
from methods.options import VolumesOptions, without_effect
from methods.profiles import Volumes, load_profile, versions_of
from methods.recipes.pretext import at_batch
from methods.terms import Term, build, to_json

DISCOVERY = "discovery"


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
    def _both(cls, given: Any) -> Any:
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
        scale = profiled.volumes
        network = profiled.network(3)
        encoder = {
            "obtain": "methods.obtain:backbone",
            "network": network,
            "encoder": "trained",
            "decoder": "trained" if entry.transfer == "encoder_decoder" else "fresh",
            "versions": versions_of("networks", "recipes"),
        }
        if network["name"] is None or scale is None:
            return MethodPlan(encoder=encoder, unavailable=f'profile "{profile}" has no network for 3 dimensions')
        options = read(VolumesOptions, {**given(scale.options, nulls=True), **entry.options}, "options.")
        judged = ("the key adversary", self.adversary > 0)
        unused = without_effect(entry.options, {"adversarial_loss": judged, "adversary_rate": judged})
        if unused:
            raise Mistakes(unused)
        discovers = dict(network)  # the releases share one self-discovery, whatever network learns from its words
        if options.network is not None:
            network["name"] = published_form(options.network, network["name"], profile)
        terms = self._terms(scale, options, network["name"])
        words = {**given(scale.words), "cube": list(scale.cube), "words": terms["discrimination"].words}
        discovery = PhasePlan(
            name=DISCOVERY,
            run="methods.volumes.discovery:run_phase",
            configuration={
                "network": discovers,
                "autoencoder": given(scale.autoencoder),
                "words": words,
                "budget": {"unit": "epochs", "count": scale.autoencoder.epochs},
                "threads_on_cpu": 1,
                "versions": versions_of("networks", "discovery", "trainer"),
            },
            cohort=profiled.cohorts[3],
        )
        phases, budget = [discovery], []
        weights = {"discrimination": self.visual_words, "restoration": self.restoration, "adversary": self.adversary}
        for present, count in shares(scale.amount.total or 0, adversary=self.adversary > 0):
            used = [terms[role] for role in present]
            optimiser = at_batch(scale.optimiser, scale.batch)
            if options.learning_rate is not None:
                optimiser["learning_rate"] = options.learning_rate
            name = "dis+res+adv" if "adversary" in present else "dis+res"
            configuration = {
                "network": network,
                "norm_splits": 1,
                "normalisation": "none",
                "views": {"cube": list(scale.cube), "painting": options.painting or release(network["name"])},
                "terms": [
                    {"role": role, "weight": weights[role], "configuration": to_json(terms[role])} for role in present
                ],
                "start": "last" if "adversary" in present else "fresh",
                "budget": {"unit": scale.amount.unit, "count": count},
                "batch": scale.batch,
                "optimiser": optimiser,
                "schedule": given(scale.schedule),
                "validation": {
                    "unit": scale.amount.unit,
                    "every": scale.validation_every,
                    "images": scale.validation_cubes,
                },
                "selection": options.selection,
                "precision": options.precision,
                "threads_on_cpu": 1,
                "versions": versions_of("networks", "cubes", "trainer", *(term.component for term in used)),
            }
            phases.append(
                PhasePlan(
                    name=name, run="methods.volumes.pretext:run_phase", configuration=configuration, uses=(DISCOVERY,)
                )
            )
            row: dict[str, Any] = {"phase": name, scale.amount.unit: count, "batch": scale.batch}
            if scale.amount.unit == "steps":
                row["images_seen"] = count * scale.batch
            else:  # every cube of a word: in the nearest patients, at each resolution
                row["images_an_epoch"] = (
                    words["words"] * scale.words.nearest_training * (1 + scale.words.more_resolutions)
                )
            budget.append(row)
        return MethodPlan(phases=tuple(phases), encoder=encoder, budget={"rule": scale.amount.budget, "phases": budget})

    def _terms(self, scale: Volumes, options: VolumesOptions, network: str) -> dict[str, Any]:
        """Build every term that may occur, with the profile's fields and then the entry's."""
        fields = dict(scale.terms.visual_words)
        if options.words is not None:
            fields["words"] = options.words
        fields["head"] = options.head or release(network)
        adversary = {"loss": options.adversarial_loss, "learning_rate": options.adversary_rate}
        terms: dict[str, Term] = {
            "discrimination": build("visual_words", "discrimination", fields),
            "restoration": build("restoration", "restoration", {}),
            "adversary": build("adversary", "adversary", {**adversary, **scale.terms.adversary}),
        }
        return terms


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


def shares(total: int, *, adversary: bool) -> list[tuple[tuple[str, ...], int]]:
    """Share a budget: all of it discrimination and restoration, or ¾ of it and then ¼ with the adversary.

    The same cubes are seen either way.
    """
    both = ("discrimination", "restoration")
    if not adversary:
        return [(both, total)]
    first = int(Fraction(3, 4) * total)
    return [(both, first), ((*both, "adversary"), total - first)]
