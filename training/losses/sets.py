"""Losses of set prediction: which query answers for which instance, and how well it does.

As in Mask2Former (Cheng et al., CVPR 2022): queries and instances are paired by the Hungarian
method on the costs of class and mask, masks are compared on sampled points (PointRend, Kirillov et
al., CVPR 2020), a query without partner shall say "none", and every decoder layer is judged.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor

Matching = Literal["hungarian", "fixed"]
_OVERSAMPLING = 3  # points drawn for each that the loss keeps in search of uncertain ones
_UNCERTAIN = 0.75  # share of the kept points that are the most uncertain ones; the rest is random


@dataclass(frozen=True)
class Weights:
    """Of the parts of the loss, in matching as in training; the paper's values.

    Attributes:
        classes: cross-entropy of "forged" against "none".
        bce, dice: of the masks.
        none: of a query without partner, in the cross-entropy.
    """

    classes: float = 2.0
    bce: float = 5.0
    dice: float = 5.0
    none: float = 0.1


class Pairing(NamedTuple):
    """Query ``queries[i]`` answers for instance ``instances[i]``; int64 each."""

    queries: Tensor
    instances: Tensor


class Parts(NamedTuple):
    """The unweighted parts of the loss."""

    classes: Tensor
    bce: Tensor
    dice: Tensor

    def total(self, weights: Weights) -> Tensor:
        """The weighted sum."""
        return weights.classes * self.classes + weights.bce * self.bce + weights.dice * self.dice


def set_loss(
    class_logit: Tensor,
    mask_logit: Tensor,
    instances: Sequence[Tensor],
    weights: Weights,
    points: int,
    matching: Matching = "hungarian",
) -> Parts:
    """The loss of one layer's answers for N pictures.

    Args:
        class_logit: float NxQ, > 0 says forged.
        mask_logit: float NxQxhxw.
        instances: of each picture bool THxW, T from 0 to Q; H and W may differ from h and w.
        weights: of the parts; here they choose the pairing, and ``none`` weighs the classes.
        points: sampled in each picture for matching, and for each pair for the loss.
        matching: ``hungarian``, or ``fixed``: instance t goes to query t, for comparison.

    Returns:
        class: mean over queries, weighted; bce and dice: means over the pairs of all pictures,
        0 where there is none.
    """
    pairings = []
    for logits, masks, truth in zip(class_logit, mask_logit, instances, strict=True):
        places = torch.rand(1, points, 2, device=masks.device)
        with torch.no_grad():
            sampled = at_points(masks[None], places)[0], at_points(truth[None].float(), places)[0]
            pairings.append(pair(logits, *sampled, weights, matching))
    bce, dice = _mask_losses(mask_logit, instances, pairings, points)
    return Parts(class_loss(class_logit, pairings, weights.none), bce, dice)


def pair(
    class_logit: Tensor,
    mask_logit: Tensor,
    truth: Tensor,
    weights: Weights,
    matching: Matching = "hungarian",
) -> Pairing:
    """Pair the instances of one picture with queries, each with its own.

    Args:
        class_logit: float Q.
        mask_logit: float QxP at P points.
        truth: float TxP in [0, 1] at the same points, T at most Q.
        weights: of the costs; the cost of the class is minus the probability of "forged".
        matching: see `set_loss`.
    """
    if matching == "fixed":
        order = torch.arange(len(truth))
        return Pairing(order, order)
    cost = -weights.classes * class_logit.sigmoid()[:, None]
    cost = cost + weights.bce * pairwise_bce(mask_logit, truth)
    cost = cost + weights.dice * pairwise_dice(mask_logit, truth)
    queries, found = linear_sum_assignment(cost.float().cpu().numpy())
    return Pairing(torch.as_tensor(queries), torch.as_tensor(found))


def pairwise_bce(logits: Tensor, truth: Tensor) -> Tensor:
    """Mean binary cross-entropy of each query with each instance: QxP, TxP -> QxT."""
    forged, untouched = F.softplus(-logits), F.softplus(logits)  # -log p and -log (1 - p)
    return (forged @ truth.T + untouched @ (1 - truth).T) / logits.shape[1]


def pairwise_dice(logits: Tensor, truth: Tensor) -> Tensor:
    """1 - Dice of each query with each instance: QxP, TxP -> QxT; see `dice_loss`."""
    found = logits.sigmoid()
    both = found @ truth.T
    return 1 - (2 * both + 1) / (found.sum(dim=1)[:, None] + truth.sum(dim=1) + 1)


def bce_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Mean binary cross-entropy of M masks with their truths: MxP twice -> M."""
    return F.binary_cross_entropy_with_logits(logits, truth, reduction="none").mean(dim=1)


def dice_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """1 - Dice of M soft masks with their truths: MxP twice -> M, 0 to 1.

    One is added above and below the line (Milletari et al. 2016), so that an empty mask of an
    empty truth scores 0, and gradients do not vanish on tiny ones.
    """
    found = logits.sigmoid()
    both = (found * truth).sum(dim=1)
    return 1 - (2 * both + 1) / (found.sum(dim=1) + truth.sum(dim=1) + 1)


def class_loss(class_logit: Tensor, pairings: Sequence[Pairing], none: float) -> Tensor:
    """Cross-entropy of NxQ class logits: paired queries are forged, the others count ``none``.

    The mean is weighted, so that it does not depend on how many queries have no partner.
    """
    forged = torch.zeros_like(class_logit)
    for row, pairing in enumerate(pairings):
        forged[row, pairing.queries] = 1.0
    weight = forged + none * (1 - forged)
    loss = F.binary_cross_entropy_with_logits(class_logit, forged, weight, reduction="sum")
    return loss / weight.sum()


def uncertain_points(logits: Tensor, points: int) -> Tensor:
    """Where masks are least sure, and some random places: Mx1xhxw -> MxPx2, as `at_points` wants.

    Of three times as many random points, those with logits nearest 0 make three quarters.
    """
    drawn = torch.rand(len(logits), _OVERSAMPLING * points, 2, device=logits.device)
    certainty = at_points(logits, drawn)[:, 0].abs()
    kept = certainty.topk(round(_UNCERTAIN * points), dim=1, largest=False).indices
    uncertain = drawn.gather(1, kept[..., None].expand(-1, -1, 2))
    rest = points - kept.shape[1]
    return torch.cat([uncertain, torch.rand(len(logits), rest, 2, device=logits.device)], dim=1)


def at_points(maps: Tensor, points: Tensor) -> Tensor:
    """Bilinear samples of NxCxhxw at NxPx2 places, (x, y) in [0, 1] of the picture -> NxCxP."""
    sampled = F.grid_sample(maps, 2 * points[:, None] - 1, align_corners=False)
    return sampled[:, :, 0]


def _mask_losses(
    mask_logit: Tensor, instances: Sequence[Tensor], pairings: Sequence[Pairing], points: int
) -> tuple[Tensor, Tensor]:
    chosen = [masks[one.queries] for masks, one in zip(mask_logit, pairings, strict=True)]
    wanted = [truth[one.instances] for truth, one in zip(instances, pairings, strict=True)]
    masks, truth = torch.cat(chosen)[:, None].float(), torch.cat(wanted)[:, None].float()
    if not len(masks):
        return mask_logit.sum() * 0, mask_logit.sum() * 0  # zero, with gradients of zero
    with torch.no_grad():
        places = uncertain_points(masks, points)
    logits, forged = at_points(masks, places)[:, 0], at_points(truth, places)[:, 0]
    return bce_loss(logits, forged).mean(), dice_loss(logits, forged).mean()
