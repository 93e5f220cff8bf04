"""AP of id maps by pycocotools."""

from __future__ import annotations

import contextlib
import io

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval


def pycocotools_ap(truths, predictions, categories):
    """Return AP and AP50 over some categories of images of (ids, segments), the predicted ones with scores."""
    rows, found = [], []
    for image, (true, predicted) in enumerate(zip(truths, predictions, strict=True), 1):
        for (ids, segments), target in ((true, rows), (predicted, found)):
            listed = zip(segments.ids, segments.categories, segments.crowd, segments.scores, strict=True)
            for number, category, crowd, score in listed:
                if category in categories:
                    mask = (ids == number).astype(np.uint8)
                    rle = coco_mask.encode(np.asfortranarray(mask))
                    item = {"image_id": image, "category_id": int(category), "segmentation": rle}
                    own = {"id": len(rows) + 1, "iscrowd": int(crowd), "area": int(mask.sum())}
                    target.append(item | (own if target is rows else {"score": float(score)}))
    truth = COCO()
    sizes = [ids.shape for ids, _ in truths]
    truth.dataset = {
        "images": [{"id": k, "height": height, "width": width} for k, (height, width) in enumerate(sizes, 1)],
        "annotations": rows,
        "categories": [{"id": int(c), "name": str(c)} for c in sorted(categories)],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        tool = COCOeval(truth, truth.loadRes(found), "segm")
        tool.evaluate()
        tool.accumulate()
        tool.summarize()
    return tool.stats[0], tool.stats[1]
