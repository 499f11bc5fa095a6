"""The kinds of forgery; each is a function from a scene to a forged picture and its mask."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from synthdet.preprocessing.operations import Mask
from synthdet.preprocessing.resizing import Image
from training.data.forgery.blending import BLENDS, feather
from training.data.forgery.regions import Segments, draw_region
from training.data.forgery.transfer import draw_turn, match_colours, move
from training.data.generators import regenerate
from training.data.generators.base import Generator
from training.data.generators.super_resolution import SuperResolution

if TYPE_CHECKING:
    from training.data.forgery.recipe import ForgeRecipe

AUTHENTIC = "authentic"
_INPAINTED = 5000  # pixels of a region up to which it is inpainted at full resolution
_CHANGED = 0.2  # share of a region that must differ from the photograph
_LEVELS = 2  # of grey: differences up to this are rounding
_TRIES = 6  # to forge so that it does
_MOST = 0.7  # share of a picture that is cut out of it at most
_MARGIN = 24  # pixels around a region that a network sees, at least
_RESIZINGS = (cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4)


@dataclass(frozen=True)
class Scene:
    """What a forger has at hand; for the fields see `training.data.forgery.forge`."""

    image: Image
    donor: Image
    recipe: "ForgeRecipe"
    rng: np.random.Generator
    generator: Generator | None = None
    segments: Segments | None = None
    donor_segments: Segments | None = None


@dataclass(frozen=True)
class Forged:
    """A picture and where it was forged.

    Attributes:
        image: uint8 HxWx3.
        mask: bool HxW, True where content or traces were changed; of a copy-move the copy alone.
        kind: a name in `KINDS`.
        params: what was drawn, plain values that JSON can hold.
    """

    image: Image
    mask: Mask
    kind: str
    params: dict[str, Any] = field(default_factory=dict)


def attempt(kind: Callable[[Scene], Forged], scene: Scene) -> Forged:
    """Forge until it makes a difference, or else leave the picture authentic.

    White sky on white sky is a forgery that no pixel shows: marking it would teach nothing.
    """
    for _ in range(_TRIES):
        forged = kind(scene)
        if makes_a_difference(scene.image, forged.image, forged.mask):
            return forged
    return authentic(scene)


def makes_a_difference(before: Image, after: Image, mask: Mask) -> bool:
    """Whether enough of the masked pixels changed by more than rounding does."""
    changed = cv2.absdiff(after, before).max(axis=2)[mask] > _LEVELS
    return bool(changed.size and changed.mean() >= _CHANGED)


def authentic(scene: Scene) -> Forged:
    """Nothing is forged."""
    return Forged(scene.image, np.zeros(scene.image.shape[:2], bool), AUTHENTIC)


def splice(scene: Scene) -> Forged:
    """A region of the donor, pasted anywhere."""
    turn = draw_turn(scene.recipe.resampled, scene.rng)
    wanted = _draw_area(scene) * scene.image[..., 0].size / scene.donor[..., 0].size
    share = min(wanted / turn.scale**2, _MOST)
    region, shape = _draw_region(scene, share, of_donor=True)
    size = scene.image.shape[:2]
    pasted, mask, turn = move(scene.donor, region, turn, size, scene.rng)
    matched = bool(scene.rng.random() < scene.recipe.matched)
    if matched:
        pasted = match_colours(pasted, scene.image, mask, scene.rng)
    image, blend = _blend(scene, pasted, mask)
    params = {"shape": shape, "blend": blend, "matched": matched, **vars(turn)}
    return Forged(image, mask, "splice", params)


def implanted(scene: Scene) -> Forged:
    """A region of the donor, at the place that it has there.

    With a generator's pictures for donors this is what its inpainting leaves: it cannot be told
    from the region's surroundings by geometry, only by traces and by what is shown.
    """
    made = _cover(scene.donor, scene.image.shape[:2], scene.rng)
    region, shape = _draw_region(scene, _draw_area(scene))
    matched = bool(scene.rng.random() < scene.recipe.matched)
    if matched:
        made = match_colours(made, scene.image, region, scene.rng)
    image, blend = _blend(scene, made, region)
    params = {"shape": shape, "blend": blend, "matched": matched}
    return Forged(image, region, "implanted", params)


def copy_move(scene: Scene) -> Forged:
    """A region of the picture itself, pasted at another place; the copy alone is marked."""
    turn = draw_turn(scene.recipe.resampled, scene.rng)
    share = min(_draw_area(scene) / turn.scale**2, _MOST)
    region, shape = _draw_region(scene, share)
    size = scene.image.shape[:2]
    pasted, mask, turn = move(scene.image, region, turn, size, scene.rng, apart=True)
    image, blend = _blend(scene, pasted, mask)
    return Forged(image, mask, "copy_move", {"shape": shape, "blend": blend, **vars(turn)})


def removal(scene: Scene) -> Forged:
    """A region painted over from its surroundings (Telea 2004, or Bertalmio et al. 2001)."""
    region, shape = _draw_region(scene, _draw_area(scene))
    method = str(scene.rng.choice(("telea", "navier_stokes")))
    grain = float(scene.rng.uniform(0.5, 1.1)) if scene.rng.random() < 0.7 else 0.0
    painted = _inpaint(scene.image, region, method, int(scene.rng.integers(3, 8)))
    painted = _add_grain(painted, scene.image, region, grain, scene.rng)
    image = feather(scene.image, painted, region, scene.rng)
    params = {"shape": shape, "method": method, "grain": round(grain, 2)}
    return Forged(image, region, "removal", params)


def regenerated_sp(scene: Scene) -> Forged:
    """Spliced, as TGIF says: of the regenerated picture only the altered region is blended back.

    In half of the cases nothing but the traces of the network changes within the region.
    """
    if scene.rng.random() < 0.5:
        altered = _alter_content(scene)
    else:
        region, shape = _draw_region(scene, _draw_area(scene))
        altered = Forged(scene.image, region, "as_is", {"shape": shape})
    if not altered.mask.any():
        return altered
    made = _regenerate_around(altered.image, altered.mask, scene)
    image, blend = _blend(scene, made, altered.mask)
    params = altered.params | _of_network(scene) | {"blend": blend, "content": altered.kind}
    return Forged(image, altered.mask, "regenerated_sp", params)


def regenerated_fr(scene: Scene) -> Forged:
    """Fully regenerated, as TGIF says: altered first, then the whole picture made anew.

    No pixel is original any more; the mask marks where the content was changed.
    """
    altered = _alter_content(scene)
    image = _regenerate(altered.image, scene)
    params = altered.params | _of_network(scene) | {"content": altered.kind}
    return Forged(image, altered.mask, "regenerated_fr", params)


def super_resolved(scene: Scene) -> Forged:
    """A region reduced and enlarged again: by a super-resolution network where there is one."""
    region, shape = _draw_region(scene, _draw_area(scene))
    if isinstance(scene.generator, SuperResolution):
        made, params = _regenerate_around(scene.image, region, scene), _of_network(scene)
    else:
        factor = round(float(scene.rng.uniform(1.6, 3.5)), 2)
        made, params = _enlarge_again(scene.image, factor, scene.rng), {"factor": factor}
    image, blend = _blend(scene, made, region)
    params |= {"shape": shape, "blend": blend}
    return Forged(image, region, "super_resolved", params)


KINDS: dict[str, Callable[[Scene], Forged]] = {
    AUTHENTIC: authentic,
    "splice": splice,
    "implanted": implanted,
    "copy_move": copy_move,
    "removal": removal,
    "regenerated_sp": regenerated_sp,
    "regenerated_fr": regenerated_fr,
    "super_resolved": super_resolved,
}
NEEDS_GENERATOR = {"regenerated_sp", "regenerated_fr"}
_CONTENT = (splice, copy_move, removal)  # kinds that show something else than the photograph did


# Steps --------------------------------------------------------------------------------------------


def _draw_area(scene: Scene) -> float:
    least, most = scene.recipe.area
    return float(np.exp(scene.rng.uniform(np.log(least), np.log(most))))


def _draw_region(scene: Scene, share: float, of_donor: bool = False) -> tuple[Mask, str]:
    image = scene.donor if of_donor else scene.image
    segments = scene.donor_segments if of_donor else scene.segments
    return draw_region(image, share, scene.recipe.shapes, scene.rng, segments)


def _blend(scene: Scene, pasted: Image, mask: Mask) -> tuple[Image, str]:
    blends = scene.recipe.blends
    weights = np.array(list(blends.values()))
    name = str(scene.rng.choice(list(blends), p=weights / weights.sum()))
    return BLENDS[name](scene.image, pasted, mask, scene.rng), name


def _alter_content(scene: Scene) -> Forged:
    return attempt(_CONTENT[scene.rng.integers(len(_CONTENT))], scene)


def _cover(donor: Image, size: tuple[int, int], rng: np.random.Generator) -> Image:
    """Cut a donor to height and width at a random place; enlarge it only where it is too small."""
    short = max(wanted / side for wanted, side in zip(size, donor.shape, strict=False))
    if short > 1:
        enlarged = [math.ceil(side * short) for side in donor.shape[1::-1]]
        donor = cv2.resize(donor, enlarged, interpolation=cv2.INTER_CUBIC).astype(np.uint8)
    (height, width), (rows, columns) = size, donor.shape[:2]
    y, x = rng.integers(rows - height + 1), rng.integers(columns - width + 1)
    return donor[y : y + height, x : x + width]


def _inpaint(image: Image, region: Mask, method: str, radius: int) -> Image:
    """Large regions are inpainted on a reduced picture: OpenCV's time grows with their area."""
    scale = min(1.0, np.sqrt(_INPAINTED / region.sum()))
    size = [max(8, round(side * scale)) for side in image.shape[1::-1]]
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    holes = cv2.resize(region.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0
    holes = cv2.dilate(holes.astype(np.uint8), np.ones((3, 3), np.uint8))
    flag = cv2.INPAINT_TELEA if method == "telea" else cv2.INPAINT_NS
    painted = cv2.inpaint(small, holes, radius, flag)
    return cv2.resize(painted, image.shape[1::-1], interpolation=cv2.INTER_CUBIC).astype(np.uint8)


def _add_grain(
    painted: Image, image: Image, region: Mask, strength: float, rng: np.random.Generator
) -> Image:
    """Noise as strong as the photograph's own, so that smoothness alone does not give it away."""
    grey = image.mean(axis=2, dtype=np.float32)
    detail = (grey - cv2.GaussianBlur(grey, (0, 0), 1.0))[~region]
    sigma = 1.4826 * float(np.median(np.abs(detail))) if detail.size else 0.0
    noise = strength * sigma * rng.standard_normal((*grey.shape, 1), np.float32)
    return np.asarray((painted + noise).round().clip(0, 255), np.uint8)


def _regenerate(image: Image, scene: Scene) -> Image:
    seed = int(scene.rng.integers(2**31))
    return regenerate(image[None], scene.generator, seed, scene.recipe.precision)[0]


def _regenerate_around(image: Image, region: Mask, scene: Scene) -> Image:
    """Regenerate what a network has to see of the region; its own grid falls anywhere."""
    x, y, width, height = cv2.boundingRect(region.astype(np.uint8))
    before, after = (scene.rng.integers(_MARGIN, _MARGIN + 16, size=2) for _ in range(2))
    rows = slice(max(0, y - before[0]), y + height + after[0])
    columns = slice(max(0, x - before[1]), x + width + after[1])
    made = image.copy()
    made[rows, columns] = _regenerate(image[rows, columns], scene)
    return made


def _enlarge_again(image: Image, factor: float, rng: np.random.Generator) -> Image:
    height, width = image.shape[:2]
    size = (max(1, round(width / factor)), max(1, round(height / factor)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    large = cv2.resize(small, (width, height), interpolation=int(rng.choice(_RESIZINGS)))
    amount = float(rng.uniform(0.3, 1.2))  # of unsharp masking, as enlargers do it
    soft = cv2.GaussianBlur(large, (0, 0), factor / 2)
    return cv2.addWeighted(large, 1 + amount, soft, -amount, 0).astype(np.uint8)


def _of_network(scene: Scene) -> dict[str, Any]:
    return {"generator": scene.generator.name}
