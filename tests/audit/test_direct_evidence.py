"""Three images that hang together by two links: what is decided needs the two images themselves to show the same."""

import numpy as np
import polars as pl
import pytest
from PIL import Image

from make_copies import edged, half, picture, put
from maskwright.audit.copies import Copy, Pictures, agreement, compare_copies
from maskwright.audit.duplicates import Duplicate, find_duplicates
from maskwright.audit.findings import audit_index
from maskwright.audit.hashing import hashes
from maskwright.audit.inspect import inspect_row
from maskwright.audit.kin import Group
from maskwright.audit.policies import decide
from maskwright.augment.dihedral import apply
from maskwright.data.index import build_index
from maskwright.recipe.data import AuditSpec, DataSpec


def bright(place, by):
    """A picture with a patch that a comparison of neighbours lets pass, and twice as much of it not."""
    image = edged(1, half()).astype(int)
    image[20:30, place : place + 10] += by
    return np.clip(image, 0, 255).astype(np.uint8)


def made(root, masks, *, step=22):
    """Write a, b, c: the patch of each is brighter by one step; return index, inspections and the pairs a-b, b-c."""
    for number, (name, mask) in enumerate(zip("abc", masks, strict=True)):
        put(root, name, bright(40, number * step), mask)
    put(root, "x", picture(5), half(8))
    (root / "unlabeled").mkdir(exist_ok=True)
    index, _, _ = build_index(DataSpec(root=str(root)))
    inspections = [inspect_row(index, row) for row in range(len(index))]
    row = {image.split("/")[1][0]: number for number, image in enumerate(index.images)}
    links = [sorted((row["a"], row["b"])), sorted((row["b"], row["c"]))]
    pairs = [Duplicate(first, second, "identity", 0, 0.999) for first, second in sorted(links)]
    return index, inspections, compare_copies(index, inspections, pairs), row


def hole(size):
    mask = half()
    mask[4 : 4 + size, 4 : 4 + size] = 0
    return mask


def test_the_chain_is_one_of_neighbours_alone(tmp_path):
    index, _, copies, row = made(tmp_path, [hole(4), hole(10), hole(16)])
    pictures = Pictures(index)
    assert [copy.same for copy in copies] == [True, True]
    assert not pictures.same(row["a"], row["c"], "identity")
    group = Group([0, 1, 2], copies, [0, 1, 2], [0, 1, 2])
    assert group.alike(row["a"], row["b"], pictures) and not group.alike(row["a"], row["c"], pictures)


@pytest.mark.parametrize("policy", ["keep_finer", "consensus"])
def test_nobody_is_judged_by_a_mask_of_another_picture(tmp_path, policy):
    """Whichever of a and c is kept, the other one's picture isn't it: only what b shows is settled."""
    index, inspections, copies, row = made(tmp_path, [hole(4), hole(10), hole(16)])
    found, _ = decide(index, inspections, copies, AuditSpec(conflicts=policy))
    ends = {frozenset((d.image, d.other_image)) for d in found if d.other_image is not None}
    assert frozenset((index.images[row["a"]], index.images[row["c"]])) not in ends
    assert found
    for decision in found:
        assert not {index.images[row["a"]], index.images[row["c"]]} <= {*decision.others}


def test_an_unlabelled_image_takes_no_mask_over_two_links(tmp_path):
    """b's mask can't be used: a's would be the next, but a doesn't show what c shows."""
    index, inspections, copies, row = made(tmp_path, [half(), half(), None])
    inspections[row["b"]].pixels = None
    found, _ = decide(index, inspections, copies, AuditSpec())
    assert found == []
    index, inspections, copies, row = made(tmp_path / "near", [half(), half(), None], step=1)
    inspections[row["b"]].pixels = None
    (taken,) = decide(index, inspections, copies, AuditSpec())[0]  # where it does, it may
    assert (taken.image, taken.other_image) == (index.images[row["c"]], index.images[row["a"]])


def copies_of(*pairs):
    return [
        Copy(Duplicate(a, b, transform, 0, 1.0), exact, True, agreement(np.uint8([[1]]), np.uint8([[2]])))
        for a, b, transform, exact in pairs
    ]


def test_transforms_are_composed_along_the_links_and_equality_is_handed_on():
    image = np.arange(12).reshape(3, 4)
    turned = {0: image, 1: np.rot90(image), 2: np.rot90(image)[:, ::-1], 3: image}
    group = Group([0, 1, 2, 3], copies_of((0, 1, "rotate_270", False), (1, 2, "flip_lr", False)), [], [])
    for row in (0, 1, 2):
        for other in (0, 1, 2):
            np.testing.assert_array_equal(apply(turned[other], group.between(row, other)), turned[row])
    equal = Group(
        [0, 1, 2, 3], copies_of((0, 1, "identity", True), (1, 3, "identity", True), (0, 2, "x", False)), [], []
    )
    assert equal.identical(0, 3) and not equal.identical(0, 2)
    assert equal.between(3, 0) == "identity"


def crowd(root, count):
    """Write copies of one image, each with a mask of its own but for the first and the last; three without."""
    image = edged(1, half())
    for number in range(count):
        mask = half()
        mask[2 + number % (count - 1) // 2, 2 : 4 + number % (count - 1) % 2] = 0
        put(root, f"c{number:03}", image, mask)
    put(root, "x", picture(5), half(8))
    for number in range(3):
        put(root, f"u{number}", image)


def decided(root, spec):
    """Return the index and what the policies decide, without the rest of an audit."""
    index, _, _ = build_index(DataSpec(root=str(root)))
    inspections = [inspect_row(index, row) for row in range(len(index))]
    thumbnails = np.stack([found.thumbnail for found in inspections])
    pairs = find_duplicates(thumbnails, hashes(thumbnails))
    return index, decide(index, inspections, compare_copies(index, inspections, pairs), spec)[0]


def test_a_crowd_is_settled_by_one_mask_though_its_pairs_are_not_all_listed(tmp_path):
    """More than 64 copies are compared with the first alone; every mask is still compared with the finest one."""
    count = 80
    crowd(tmp_path, count)
    index, found = decided(tmp_path, AuditSpec())
    drops = [d for d in found if d.action == "drop"]
    (kept,) = {d.other_image for d in drops}
    # all but the kept one go; the last one, too, though it agrees with the first, which it was compared with
    same = [i for i in index.labelled.images if i.startswith("images/c") and i not in {d.image for d in drops}]
    labels = [index.read_label(index.images.index(image)) for image in same]
    assert kept in same and all(np.array_equal(label, labels[0]) for label in labels)
    taken = {d.image: d.other_image for d in found if d.action == "use_mask_of"}
    assert set(taken) == {f"unlabeled/u{k}.png" for k in range(3)} and set(taken.values()) <= {*same}


def test_both_go_in_a_crowd_too(tmp_path):
    crowd(tmp_path, 80)
    _, found = decided(tmp_path, AuditSpec(conflicts="drop_both"))
    assert len([d for d in found if d.action == "drop"]) == 80  # the last agrees with the first alone


def test_masks_of_one_score_are_a_tie(tmp_path):
    """One mask and its upside-down image on a picture that is the same upside down: nobody can say which is finer."""
    top = np.zeros((48, 64), np.uint8)
    top[:20] = 1
    wave = (np.cos(np.linspace(-3, 3, 48))[:, None] * 90 + 128 + 20 * np.cos(np.linspace(0, 9, 64))).astype(np.uint8)
    image = np.repeat(wave[..., None], 3, 2)
    put(tmp_path, "a", image, top)
    put(tmp_path, "b", image, top[::-1].copy())
    (tmp_path / "unlabeled").mkdir()
    Image.fromarray(picture(9)).save(tmp_path / "unlabeled" / "x.png")
    index, _, _ = build_index(DataSpec(root=str(tmp_path)))
    found = audit_index(index, AuditSpec(crops=False, pictures=False))
    (decision,) = [d for d in found.decisions if d.action == "drop"]
    assert decision.image == "images/b.png"
    assert "a tie with the mask of images/a.png" in decision.reason and "finer" not in decision.reason
    (row,) = found.findings.filter(pl.col("kind") == "conflict").to_dicts()
    assert "a tie" in row["detail"]
    assert "differ in 2560 of 3072 pixels" in row["detail"]  # 20 rows above and 20 below, of 64 pixels each


def test_one_pixel_of_very_many_is_told(tmp_path):
    """Of 48 · 64 pixels, rounding would say that all are equal."""
    mask = half()
    mask[0, 0] = 0
    put(tmp_path, "a", edged(1, half()), half())
    put(tmp_path, "b", edged(1, half()), mask)
    index, _, _ = build_index(DataSpec(root=str(tmp_path)))
    found = audit_index(index, AuditSpec(crops=False, pictures=False))
    (row,) = found.findings.filter(pl.col("kind") == "conflict").to_dicts()
    assert "differ in 1 of 3072 pixels" in row["detail"]
