"""Training of two generators that undo each other, against two discriminators: CycleGAN (Zhu et al., ICCV 2017)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from lowlight_cli.nn.gan import ImagePool, discriminator_loss, frozen, generator_loss
from lowlight_cli.nn.losses import check_weights, ssim_loss
from lowlight_cli.nn.optimizer import discriminators_optimizer, optimizer
from lowlight_cli.nn.schedule import schedules

if TYPE_CHECKING:
    from lowlight_cli.training.recipe import Batch, Descend
    from lowlight_cli.training.settings import Settings

DOMAINS = ("high", "low")
TERMS = ("adversarial", "cycle", "identity", "paired", "ssim", "exposure")
PAIRED = ("paired", "ssim")
"""Those that compare with the truth of the same scene."""
OTHER = {"high": "low", "low": "high"}


def distance(output: Tensor, truth: Tensor) -> Tensor:
    """L1 on the range [-1, 1] of CycleGAN, whose weights for it are known; of pictures in [0, 1]."""
    return 2 * F.l1_loss(output.float(), truth.float())


class View:
    """A picture as generators see it: a part of it, and a thumbnail of all of it."""

    def __init__(self, pixels: Tensor, thumbnail: Tensor) -> None:
        self.pixels, self.thumbnail = pixels, thumbnail

    def through(self, generator: nn.Module, brightness: Tensor) -> View:
        """What the generator makes of both; statistics for the part come from the thumbnail.

        `brightness` (N,) is the target of a generator that takes one.
        """
        thumbnail, vectors = generator.whole(self.thumbnail, brightness)
        return View(generator.tile(self.pixels, vectors), thumbnail)


class CycleRecipe:
    """Adam on the generators, then on the discriminators, whose made pictures come out of pools.

    A generator has `tile(pixels, vectors)` and `whole(thumbnail, brightness)`, which gives its output on the thumbnail
    and the vectors. `settings.loss` weighs `adversarial`, `cycle`, `identity`, `paired` and `ssim`: L1 and 1 - SSIM to
    the truth of the same scene, which ask for pairs, and `exposure`: the error of the head that guesses the brightness,
    where there is one. A term of weight 0 is not computed; without `cycle` the way back would teach the generator
    nothing, and there is none. `settings.discriminator` are arguments of `make_discriminator`, but for `objective`:
    `log` or `lsgan`.

    Pictures are brightened to the brightness of the batch's bright ones, whether these show the same scenes or not. The
    way back always has plain input: it makes darkness.
    """

    deploy = "generator"

    def __init__(
        self,
        settings: Settings,
        make_generator: Callable[..., nn.Module],
        make_discriminator: Callable[..., nn.Module],
    ) -> None:
        self.weights = settings.loss
        self.data: Literal["paired", "unpaired"] = "paired" if any(map(self.weights.get, PAIRED)) else "unpaired"
        arguments = dict(settings.discriminator)
        self.objective = arguments.pop("objective", "log")
        terms = {*TERMS} if settings.params.get("exposure") else {*TERMS} - {"exposure"}
        check_weights(self.weights, TERMS, terms)
        self.domains = DOMAINS if self.weights["cycle"] else DOMAINS[:1]
        generators = {"generator": make_generator(**settings.params)}
        if self.weights["cycle"]:
            generators["back"] = make_generator(**{**settings.params, "exposure": False})
        discriminators = {f"discriminator_{domain}": make_discriminator(**arguments) for domain in self.domains}
        self.networks = generators | discriminators
        self.optimizers = {
            "generators": optimizer(settings, *generators.values()),
            "discriminators": discriminators_optimizer(settings, *discriminators.values()),
        }
        self.schedules = schedules(settings, self.optimizers)
        self.extras = {f"pool_{domain}": ImagePool(settings.pool) for domain in self.domains}

    def step(self, batch: Batch, descend: Descend) -> dict[str, Tensor]:
        """One descent of the generators, one of the discriminators; the terms before their weights."""
        real = {domain: View(batch[domain], batch[f"{domain}_thumbnail"]) for domain in DOMAINS}
        discriminators = [self.networks[f"discriminator_{domain}"] for domain in self.domains]
        with frozen(*discriminators):
            made = self.translated(real, batch["brightness"])
            terms = self.generator_terms(real, made, batch["brightness"])
            total = sum(self.weights[name.split("_")[0]] * term for name, term in terms.items())
            descend(total, "generators")
        terms = {"generators": total, **terms}
        if self.weights["adversarial"]:
            judged = self.discriminator_terms(real, made)
            descend(sum(judged.values()), "discriminators")
            terms |= judged
        return {name: term.detach() for name, term in terms.items()}

    def ways(self) -> dict[str, nn.Module]:
        """Generators by the domain of what they make."""
        return {domain: self.networks[{"high": "generator", "low": "back"}[domain]] for domain in self.domains}

    def translated(self, real: dict[str, View], brightness: Tensor) -> dict[str, View]:
        """Made pictures by the domain that they should belong to; none where no term asks for them."""
        if not any(self.weights.get(name) for name in ("adversarial", "cycle", *PAIRED)):
            return {}
        return {to: real[OTHER[to]].through(generator, brightness) for to, generator in self.ways().items()}

    def generator_terms(self, real: dict[str, View], made: dict[str, View], brightness: Tensor) -> dict[str, Tensor]:
        """The terms that the generators descend: adversarial (Eq. 2), cycle (Eq. 3), identity (Eq. 4), and ours."""
        to, terms = self.ways(), {}
        if self.weights["adversarial"]:
            for domain in to:
                logits = self.networks[f"discriminator_{domain}"](made[domain].pixels)
                terms[f"adversarial_{domain}"] = generator_loss(logits, self.objective)
        if self.weights["cycle"]:
            returned = {d: made[OTHER[d]].through(to[d], brightness) for d in to}
            terms["cycle"] = sum(distance(returned[d].pixels, real[d].pixels) for d in to)
        if self.weights["identity"]:
            terms["identity"] = sum(distance(real[d].through(to[d], brightness).pixels, real[d].pixels) for d in to)
        if self.weights.get("paired"):
            terms["paired"] = sum(distance(made[d].pixels, real[d].pixels) for d in to)
        if self.weights.get("ssim"):
            terms["ssim"] = sum(ssim_loss(made[d].pixels, real[d].pixels) for d in to)
        head = to["high"].head
        if head is not None and self.weights.get("exposure"):
            terms["exposure"] = F.mse_loss(head(real["low"].thumbnail).float(), brightness)
        return terms

    def discriminator_terms(self, real: dict[str, View], made: dict[str, View]) -> dict[str, Tensor]:
        """What each discriminator pays for real pictures and for those that its pool hands out."""
        terms = {}
        for domain in self.domains:
            discriminator, pool = self.networks[f"discriminator_{domain}"], self.extras[f"pool_{domain}"]
            logits = discriminator(real[domain].pixels), discriminator(pool(made[domain].pixels))
            terms[f"discriminator_{domain}"] = discriminator_loss(*logits, self.objective)
        return terms
