"""True maps of the pool, which some studies have and say so in the recipe: nothing else reads them."""

from __future__ import annotations

from maskwright.data.index import Index
from maskwright.errors import DataError, problem
from maskwright.labels import InstanceMap
from maskwright.types import LabelMap


def true_label(whole: Index, image: str) -> LabelMap:
    """Return the true label of an image of the pool.

    Raises:
        DataError: there is none.
    """
    found = whole.only([image]).read_label(0)
    if found is None:
        raise _unknown("guide", image)
    return found


def true_objects(whole: Index, image: str) -> InstanceMap:
    """Return the true objects of an image of the pool.

    Raises:
        DataError: there are none.
    """
    found = whole.only([image]).read_instances(0)
    if found is None:
        raise _unknown("votes", image)
    return found


def _unknown(field: str, image: str) -> DataError:
    where = f"selftrain.method.objects.{field}: true, of {image}"
    return DataError(
        problem("a true map of each image of the pool", "none", where=where, next_move="set it to predicted")
    )
