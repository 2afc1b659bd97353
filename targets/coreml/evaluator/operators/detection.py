"""Non-maximum suppression."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from targets.coreml.evaluator._registry import operator

if TYPE_CHECKING:
    from targets.coreml.evaluator._types import Array


def _overlaps(box: Array, others: Array) -> Array:
    """Intersection over union of one box with others; rows are centre x, centre y, width, height."""
    low = np.maximum(box[:2] - box[2:] / 2, others[:, :2] - others[:, 2:] / 2)
    high = np.minimum(box[:2] + box[2:] / 2, others[:, :2] + others[:, 2:] / 2)
    shared = np.prod(np.maximum(high - low, 0), axis=1)
    union = box[2] * box[3] + others[:, 2] * others[:, 3] - shared
    return np.where(union > 0, shared / np.where(union > 0, union, 1), 0)


def _kept(boxes: Array, scores: Array, threshold: float, least: float, *, by_class: bool) -> list[int]:
    """Places of the boxes that stay, the best first."""
    best = scores.max(axis=1)
    classes = scores.argmax(axis=1)
    waiting = np.argsort(-best, kind="stable")
    waiting = waiting[best[waiting] >= least]
    kept = []
    while waiting.size:
        first, waiting = waiting[0], waiting[1:]
        kept.append(int(first))
        gone = _overlaps(boxes[first], boxes[waiting]) > threshold
        if by_class:
            gone &= classes[waiting] == classes[first]
        waiting = waiting[~gone]
    return kept


def _suppressed(
    boxes: Array, scores: Array, iou_threshold: Array, score_threshold: float, max_boxes: Array, per_class: Array | bool
) -> tuple[Array, Array, Array, Array]:
    most = int(max_boxes)
    found_boxes = np.zeros((boxes.shape[0], most, 4), np.float32)
    found_scores = np.zeros((boxes.shape[0], most, scores.shape[2]), np.float32)
    places = np.full((boxes.shape[0], most), -1, np.int32)
    counts = np.zeros(boxes.shape[0], np.int32)
    for image in range(boxes.shape[0]):
        kept = _kept(
            boxes[image].astype(np.float64),
            scores[image],
            float(iou_threshold),
            score_threshold,
            by_class=bool(per_class),
        )[:most]
        count = counts[image] = len(kept)
        found_boxes[image, :count] = boxes[image][kept]
        found_scores[image, :count] = scores[image][kept]
        places[image, :count] = kept
    return found_boxes, found_scores, places, counts


@operator("non_maximum_suppression", until="ios16")
def non_maximum_suppression_above(
    boxes: Array,
    scores: Array,
    iou_threshold: Array,
    score_threshold: Array,
    max_boxes: Array,
    per_class_suppression: Array | bool = False,
) -> tuple[Array, Array, Array, Array]:
    return _suppressed(boxes, scores, iou_threshold, float(score_threshold), max_boxes, per_class_suppression)


@operator("non_maximum_suppression", since="ios17")
def non_maximum_suppression(
    boxes: Array,
    scores: Array,
    iou_threshold: Array,
    max_boxes: Array,
    per_class_suppression: Array | bool = False,
) -> tuple[Array, Array, Array]:
    """Boxes and scores with the box as the last axis, and no count."""
    found_boxes, found_scores, places, _ = _suppressed(
        boxes.swapaxes(1, 2), scores.swapaxes(1, 2), iou_threshold, -np.inf, max_boxes, per_class_suppression
    )
    return found_boxes.swapaxes(1, 2), found_scores.swapaxes(1, 2), places
