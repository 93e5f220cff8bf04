"""The artifacts of a run folder as one value; what isn't there is None or empty."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import polars as pl
import yaml

from maskwright.artifacts import RunFolder, locate, read_folds, read_json, read_table
from maskwright.data.store import ProbabilityStore
from maskwright.errors import DataError, problem
from maskwright.types import Categories, Category

T = TypeVar("T")

NAN = float("nan")
PARTS = {
    "": "Headline",
    "oof": "Out of fold (single fold models)",
    "holdout": "Held-out part (ensemble of the fold models)",
}
"""What the prefixes of evaluation.json mean, in the order of the report; "" is a key without prefix."""
_WITHIN = re.compile(r"(?P<key>[^@]+)@(?P<within>(domain|part|label_source)=.*)", re.DOTALL)
OVERVIEW = ("outliers", "objects", "sizes", "ratios", "parts", "styles")
"""The audit's tables of all images together."""


@dataclass(frozen=True)
class Score:
    """One number of evaluation.json.

    Attributes:
        part: "" for a headline number, "oof", "holdout" or another prefix.
        metric: such as `mean_dice`.
        category: name, or "" for a number over all categories.
        value: the number; NaN where there is none.
        low: lower end of its interval; NaN where there is none.
        high: upper end.
        n: how many images it was taken over, or None.
        definition: the metric in words.
        within: such as `domain=dusk`, where it is of these images alone; "" for all images.
    """

    part: str
    metric: str
    category: str
    value: float
    low: float = NAN
    high: float = NAN
    n: int | None = None
    definition: str = ""
    within: str = ""


@dataclass(frozen=True)
class Artifacts:
    """Everything that a report is made of.

    Attributes:
        folder: the run folder.
        recipe: recipe.yaml, parsed.
        recipe_text: recipe.yaml as it is.
        categories: from the recipe.
        index: one row an image.
        findings: audit/findings.parquet.
        classes: audit/classes.parquet.
        overview: name → the audit's tables of all images together, those that are there.
        suspects: suspects/suspects.parquet, regions.
        suspect_images: suspects/images.parquet.
        audit_pictures: audit/*.png.
        folds: folds.csv.
        certificate: folds.json.
        curves: (round, fold) → metrics.csv, in order.
        tuned: tuned.json.
        scores: evaluation.json, of all images.
        divided: evaluation.json, of the images of one domain, part or source.
        confusion: confusion.json.
        per_image: predictions/per_image.parquet.
        calibration: predictions/calibration.parquet.
        embedded: predictions/embeddings.parquet, images whose embeddings were drawn.
        run: run.json.
        price: predictions/price_of_leaks.json.
        selftrain: adopted.json, what the rounds came to.
        labelling: round → pseudo/seconds.json, how long the pool's labels took.
        members: predictions/members.json, each fold's network alone on the held-out part.
        compared: round → pseudo/compared.parquet, objects of the pool beside the true ones.
        starts: fold → start.json, where trainings started from an older run.
        class_weights: fold → what its log says of class weights, a line a term: `focal: sky 1, rock 3`.
        hidden: what images are called in all tables where names are hidden → the image; empty where they aren't.
    """

    folder: Path
    recipe: dict[str, Any]
    recipe_text: str
    categories: Categories
    index: pl.DataFrame
    findings: pl.DataFrame | None
    classes: pl.DataFrame | None
    overview: dict[str, pl.DataFrame]
    suspects: pl.DataFrame | None
    suspect_images: pl.DataFrame | None
    audit_pictures: tuple[Path, ...]
    folds: pl.DataFrame | None
    certificate: dict[str, Any] | None
    curves: dict[tuple[int, int], pl.DataFrame]
    tuned: dict[str, Any] | None
    scores: tuple[Score, ...]
    confusion: dict[str, Any] | None
    per_image: pl.DataFrame | None
    run: dict[str, Any] | None
    price: dict[str, Any] | None = None
    selftrain: dict[str, Any] | None = None
    divided: tuple[Score, ...] = ()
    labelling: dict[int, dict[str, Any]] = field(default_factory=dict)
    compared: dict[int, pl.DataFrame] = field(default_factory=dict)
    starts: dict[int, dict[str, Any]] = field(default_factory=dict)
    members: dict[str, dict[str, Any]] | None = None
    class_weights: dict[int, tuple[str, ...]] = field(default_factory=dict)
    calibration: pl.DataFrame | None = None
    embedded: pl.DataFrame | None = None
    hidden: dict[str, str] = field(default_factory=dict)

    @property
    def root(self) -> Path:
        """The data folder that the index' paths are relative to."""
        return Path(str(self.recipe.get("data", {}).get("root", ".")))

    def locate(self, file: str) -> Path:
        """Return where an image or label file of the index lies."""
        return locate(self.root, RunFolder(self.folder).imported, self.file_of(file))

    def file_of(self, image: str) -> str:
        """Return the path of an image in the index, whatever it is called here."""
        return self.hidden.get(image, image)

    def probabilities(self, part: str) -> ProbabilityStore:
        """Return the probabilities of the images of a part, `oof` or `holdout`."""
        return ProbabilityStore(RunFolder(self.folder).store(part))

    @property
    def told(self) -> str:
        """What the run folder is called: RUN where names are hidden."""
        return "RUN" if self.hidden else shlex.quote(str(self.folder))

    @property
    def labelled(self) -> int:
        """How many images have a mask or instances."""
        return self.index.filter(has_label(self.index)).height

    def label_file(self, image: str) -> Path:
        """Return where the predicted label PNG of an image of the index lies."""
        path = PurePosixPath(self.file_of(image))
        inner = PurePosixPath(*path.parts[1:]) if path.parts[0] == "images" else path
        return self.folder / "predictions" / "labels" / inner.with_suffix(".png")

    def score(self, metric: str, part: str = "", category: str = "") -> Score | None:
        """Return one number of the evaluation."""
        return next((s for s in self.scores if (s.part, s.metric, s.category) == (part, metric, category)), None)


def has_label(index: pl.DataFrame) -> pl.Expr:
    """Return the condition that a row of the index has a mask or instances."""
    columns = [c for c in ("mask", "instances") if c in index.columns]
    return pl.any_horizontal([pl.col(c).is_not_null() for c in columns]) if columns else pl.lit(False)


def collect(run: Path) -> Artifacts:
    """Read a run folder.

    Raises:
        DataError: recipe or index is missing, the recipe holds no categories, or an artifact is damaged.
    """
    paths = RunFolder(run)
    for needed in (paths.recipe, paths.index):
        if not needed.is_file():
            raise DataError(
                problem(
                    f"a run folder with {needed.name}",
                    "none",
                    where=str(run),
                    next_move=f"make it with `maskwright audit --data DIR --out {run}`",
                )
            )
    text = paths.recipe.read_text(encoding="utf-8")
    recipe = _read(paths.recipe, lambda _: yaml.safe_load(text)) or {}
    categories = _categories(recipe.get("data") or {}, paths.recipe)
    evaluation = _read(paths.predictions / "evaluation.json", read_json) or {}
    scores = tuple(_score(key, value, categories.names) for key, value in evaluation.items())
    index = _read(paths.index, read_table)
    assert index is not None, "the file is there"
    return Artifacts(
        folder=run,
        recipe=recipe,
        recipe_text=text,
        categories=categories,
        index=index,
        findings=_read(paths.findings, read_table),
        classes=_read(paths.audit / "classes.parquet", read_table),
        overview={
            name: t for name in OVERVIEW if (t := _read(paths.audit / f"{name}.parquet", read_table)) is not None
        },
        suspects=_read(paths.suspects / "suspects.parquet", read_table),
        suspect_images=_read(paths.suspects / "images.parquet", read_table),
        audit_pictures=tuple(sorted(paths.audit.glob("*.png"))),
        folds=_read(paths.folds, read_folds),
        certificate=_read(paths.certificate, read_json),
        curves=_curves(run),
        tuned=_read(paths.tuned, read_json),
        scores=tuple(score for score in scores if not score.within),
        divided=tuple(score for score in scores if score.within),
        confusion=_read(paths.predictions / "confusion.json", read_json),
        per_image=_read(paths.predictions / "per_image.parquet", read_table),
        calibration=_read(paths.predictions / "calibration.parquet", read_table),
        embedded=_read(paths.predictions / "embeddings.parquet", read_table),
        run=_read(run / "run.json", read_json),
        members=_read(paths.predictions / "members.json", read_json),
        price=_read(paths.predictions / "price_of_leaks.json", read_json),
        selftrain=_read(paths.adopted, read_json),
        labelling={k: told for k, p in _rounds(run) if (told := _read(p / "pseudo" / "seconds.json", read_json))},
        compared={
            k: t for k, p in _rounds(run) if (t := _read(p / "pseudo" / "compared.parquet", read_table)) is not None
        },
        starts={k: note for k, p in _folds(run) if (note := _read(p / "start.json", read_json)) is not None},
        class_weights={k: lines for k, p in _folds(run) if (lines := _read(p / "log.txt", _class_weights))},
    )


def _read(path: Path, reader: Callable[[Path], T]) -> T | None:
    if not path.is_file():
        return None
    try:
        return reader(path)
    except (ValueError, OSError, yaml.YAMLError, pl.exceptions.PolarsError) as error:
        raise DataError(
            problem(
                f"a readable {path.suffix.lstrip('.')} file",
                str(error).splitlines()[0],
                where=str(path),
                next_move="delete the file and run the command that makes it again",
            )
        ) from error


def _categories(data: dict[str, Any], where: Path) -> Categories:
    rows = data.get("categories")
    if not rows:
        raise DataError(
            problem(
                "categories",
                "none: the recipe is not resolved",
                where=f"{where}: data.categories",
                next_move="run `maskwright audit`, which finds them",
            )
        )
    items = tuple(
        Category(
            id=row["id"],
            name=str(row["name"]),
            color=tuple(row.get("color", (128, 128, 128))),
            isthing=bool(row.get("isthing", False)),
        )
        for row in rows
    )
    return Categories(items, frozenset(data.get("leave_out") or ()))


def _folds(run: Path) -> list[tuple[int, Path]]:
    """Return (number, folder) of the folds of the first round."""
    return _numbered(run / "round-0", "fold-")


def _rounds(run: Path) -> list[tuple[int, Path]]:
    """Return (number, folder) of all rounds."""
    return _numbered(run, "round-")


def _numbered(folder: Path, prefix: str) -> list[tuple[int, Path]]:
    paths = [p for p in folder.glob(f"{prefix}*") if p.name.removeprefix(prefix).isdigit()]
    return sorted((int(p.name.removeprefix(prefix)), p) for p in paths)


def _class_weights(log: Path) -> tuple[str, ...]:
    opening = "class weights of "
    lines = log.read_text(encoding="utf-8").splitlines()
    return tuple(line.removeprefix(opening) for line in lines if line.startswith(opening))


def _curves(run: Path) -> dict[tuple[int, int], pl.DataFrame]:
    found = {}
    for path in run.glob("round-*/fold-*/metrics.csv"):
        place = re.fullmatch(r"round-(\d+)/fold-(\d+)", path.parent.relative_to(run).as_posix())
        table = _read(path, lambda p: pl.read_csv(p, infer_schema_length=None))
        if place and table is not None and table.height and "step" in table.columns:
            found[int(place[1]), int(place[2])] = table.with_columns(pl.all().cast(pl.Float64, strict=False))
    return dict(sorted(found.items()))


def _score(key: str, fields: dict[str, Any], names: list[str]) -> Score:
    """Split `part/metric/category`; part and category may be absent, and a category's name may hold slashes."""
    divided = _WITHIN.fullmatch(key)
    within = divided["within"] if divided else ""
    first, _, rest = (divided["key"] if divided else key).partition("/")
    if not rest:
        part, metric, category = "", first, ""
    elif rest in names and first not in PARTS:
        part, metric, category = "", first, rest
    else:
        part = first
        metric, _, category = rest.partition("/")
    n = fields.get("n")
    return Score(
        part,
        metric,
        category,
        number(fields.get("value")),
        number(fields.get("low")),
        number(fields.get("high")),
        None if n is None else int(n),
        str(fields.get("definition") or ""),
        within,
    )


def number(value: Any) -> float:
    """Return a float; what is absent, null or no number is NaN."""
    try:
        result = float(value)
    except (TypeError, ValueError):
        return NAN
    return result if math.isfinite(result) else NAN


def image_scores(per_image: pl.DataFrame, categories: Categories) -> pl.DataFrame:
    """Return each image's mean Dice over the categories that count, worst first; images without one are left out.

    Returns:
        Columns image, part, group, fold (those that are there) and dice.
    """
    counted = [categories.names[p] for p in categories.evaluated]
    dice = pl.col("dice").cast(pl.Float64).fill_nan(None)
    keys = [c for c in ("image", "part", "group", "fold") if c in per_image.columns]
    table = per_image.filter(pl.col("category").cast(pl.String).is_in(counted))
    scores = table.group_by(keys, maintain_order=True).agg(dice.mean().alias("dice"))
    return scores.drop_nulls("dice").sort("dice", "image")


def image_distances(per_image: pl.DataFrame, categories: Categories) -> pl.DataFrame:
    """Return each image's category with the largest HD95, worst first; without that column, nothing.

    Returns:
        Columns image, part, group, fold (those that are there), category and hd95, in pixels.
    """
    if "hd95" not in per_image.columns:
        return pl.DataFrame()
    counted = [categories.names[p] for p in categories.evaluated]
    keys = [c for c in ("image", "part", "group", "fold") if c in per_image.columns]
    there = pl.sum_horizontal("tp", "fp", "fn") > 0
    table = per_image.filter(pl.col("category").cast(pl.String).is_in(counted) & there).drop_nulls("hd95")
    worst = table.sort("hd95", "image", descending=[True, False], maintain_order=True)
    return worst.unique("image", keep="first", maintain_order=True).select(*keys, "category", "hd95")


def css(color: tuple[int, int, int]) -> str:
    """Write an RGB colour for a style sheet.

    Example:
        >>> css((0, 128, 255))
        '#0080ff'
    """
    return "#{:02x}{:02x}{:02x}".format(*color)


def swatches(artifacts: Artifacts, names: Sequence[str]) -> list[str]:
    """Return the colours of categories for a style sheet; transparent for an unknown name."""
    colors = {c.name: css(c.color) for c in artifacts.categories.items}
    return [colors.get(n, "transparent") for n in names]
