"""The cache of pretrained weights: what is in it, and how weights get there. Only `fetch` goes to a network.

The cache is Hugging Face's own (HF_HOME, HF_HUB_CACHE): models--OWNER--NAME/refs/main names the snapshot, and
models--OWNER--NAME/snapshots/COMMIT/ holds the file. What other tools fetched is found, and the other way round.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import shutil
import tempfile
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskwright.artifacts import atomic, write_text
from maskwright.errors import DataError, MaskwrightError, UsageError, problem
from maskwright.models.weights import FILES, HUB, cached_weights, repository_of
from maskwright.progress import report, track

_MANIFEST = "weights.json"
_FORM = 1
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Cached:
    """Weights on this machine.

    Attributes:
        repository: OWNER/NAME on the hub.
        path: of the file.
        size: of it, in bytes.
    """

    repository: str
    path: Path
    size: int


def cache_folder() -> Path:
    """Return where the cache is."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def list_cached() -> list[Cached]:
    """Return all weights in the cache, by name; an encoder's name is the part after the owner, without its tag."""
    found = []
    for folder in sorted(cache_folder().glob("models--*--*")):
        reference = folder / "refs" / "main"
        if not reference.is_file():
            continue
        snapshot = folder / "snapshots" / reference.read_text(encoding="utf-8").strip()
        if (path := next((p for name in FILES if (p := snapshot / name).is_file()), None)) is not None:
            repository = folder.name.removeprefix("models--").replace("--", "/", 1)
            found.append(Cached(repository, path, path.stat().st_size))
    return found


def fetch(name: str, source: str | None = None) -> Path:
    """Bring an encoder's weights into the cache and return their path; weights that are there are left alone.

    Args:
        name: timm name, or hf:OWNER/NAME.
        source: None: the hub; a mirror's address; the address of a file; a file; or a folder of files or of a cache.

    Raises:
        UsageError: no such encoder, no weights of it are published, or the source hasn't got them.
        MaskwrightError: the network doesn't answer.
    """
    repository = published(name)
    if (path := cached_weights(name)) is not None:
        return Path(path)
    if source is None or (_is_address(source) and not _is_file_name(source)):
        return _from_hub(repository, source)
    if _is_address(source):
        return _from_address(repository, source)
    return _from_disk(name, repository, Path(source))


def bundle(names: Sequence[str], out: Path) -> list[Cached]:
    """Write the cached weights of encoders into one file for a machine without a network; return what it holds.

    Raises:
        UsageError: some are not cached.
    """
    wanted = {published(name): name for name in names}
    cached = {item.repository: item for item in list_cached()}
    if missing := [name for repository, name in wanted.items() if repository not in cached]:
        next_move = f"maskwright weights fetch {' '.join(missing)}"
        raise UsageError(
            problem(
                "weights in the cache", f"none of {', '.join(missing)}", where=str(cache_folder()), next_move=next_move
            )
        )
    items = [cached[repository] for repository in wanted]
    manifest = {
        "form": _FORM,
        "weights": [
            {"repository": item.repository, "file": item.path.name, "sha256": _digest(item.path)} for item in items
        ],
    }
    with (
        atomic(out) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED, strict_timestamps=False) as archive,
    ):
        archive.writestr(_MANIFEST, json.dumps(manifest, indent=1))
        for item in track(items, "bundle"):
            archive.write(item.path, f"{item.repository}/{item.path.name}")
    return items


def add(path: Path) -> list[Path]:
    """Unpack a bundle into the cache; return the paths of its weights.

    Raises:
        DataError: it is none, or a file in it is not what its manifest says.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            manifest = json.loads(archive.read(_MANIFEST))
            rows = [(row["repository"], row["file"], row["sha256"]) for row in manifest["weights"]]
            return [_unpack(archive, path, *row) for row in track(rows, "add weights")]
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError, OSError) as error:
        raise _no_bundle(path, f"another file ({type(error).__name__}: {error})") from None


def published(name: str) -> str:
    """Return the repository of an encoder's weights; UsageError if there are none or there is no such encoder."""
    import timm

    if not name.startswith(HUB) and not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), 3, 0.4)
        hint = f"did you mean {', '.join(near)}?" if near else "names are those of timm, or hf:OWNER/NAME"
        raise UsageError(problem("an encoder of timm", name, where="the command line", next_move=hint))
    if (repository := repository_of(name)) is None:
        next_move = "take another encoder, or give a file as model.encoder_weights"
        raise UsageError(problem("published weights", f"none of {name}", where="timm", next_move=next_move))
    return repository


def _from_hub(repository: str, endpoint: str | None) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError

    report("fetch weights", 0, 1, repository)
    told: Exception | None = None
    for name in FILES:
        try:
            return Path(hf_hub_download(repository, name, endpoint=endpoint))
        except LocalEntryNotFoundError as error:  # no network
            told = error
            break
        except EntryNotFoundError as error:  # no such file: the next name
            told = error
        except (HfHubHTTPError, OSError) as error:
            told = error
            break
    raise MaskwrightError(
        problem(
            f"an answer with the weights of {repository}",
            f"{type(told).__name__}: {' '.join(str(told).split())[:200]}",
            where=endpoint or "https://huggingface.co",
            next_move="see that the network is there, give --from MIRROR, FILE or FOLDER, or use `weights bundle` on "
            "a machine with a network and `weights add` here",
        )
    )


def _from_address(repository: str, address: str) -> Path:
    with _workspace() as place:
        folder = Path(place)
        fetched = folder / Path(urllib.parse.urlparse(address).path).name
        try:
            with urllib.request.urlopen(address) as answer, fetched.open("wb") as file:
                shutil.copyfileobj(answer, file, _CHUNK)
        except OSError as error:
            next_move = "check the address and the network"
            raise MaskwrightError(
                problem("a file of weights", str(error), where=address, next_move=next_move)
            ) from None
        return _store(repository, fetched)


def _from_disk(name: str, repository: str, source: Path) -> Path:
    """Copy from a file, from a folder with a file of the encoder's name, or from another cache."""
    short = repository.rpartition("/")[2]
    tried = [source] if source.is_file() else list(_candidates(source, name, repository, short))
    found = next((path for path in tried if path.is_file()), None)
    if found is None:
        got = "nothing" if not source.exists() else "no such file"
        expected = f"{short}.safetensors, {repository}/{FILES[0]} or a cache in the folder"
        raise UsageError(problem(expected, got, where=str(source), next_move="check the path of --from"))
    return _store(repository, found)


def _candidates(source: Path, name: str, repository: str, short: str) -> Iterator[Path]:
    for stem in (short, name):
        yield from (source / f"{stem}{suffix}" for suffix in (".safetensors", ".bin", ".pth"))
    for folder in (source / repository, source / short, source / name):
        yield from (folder / file for file in FILES)
    for cache in (source, source / "hub"):
        for file in FILES:
            yield from sorted(cache.glob(f"models--{repository.replace('/', '--')}/snapshots/*/{file}"))


def _store(repository: str, path: Path) -> Path:
    """Copy a file into the cache; its content names the snapshot."""
    folder = cache_folder() / f"models--{repository.replace('/', '--')}"
    commit = _digest(path)[:40]
    target = folder / "snapshots" / commit / (FILES[0] if path.suffix == ".safetensors" else FILES[1])
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic(target) as temporary:
        shutil.copyfile(path, temporary)
    (folder / "refs").mkdir(exist_ok=True)
    write_text(folder / "refs" / "main", commit)
    return target


def _unpack(archive: zipfile.ZipFile, path: Path, repository: str, name: str, digest: str) -> Path:
    """Bring one file of a bundle into the cache, after its content was checked."""
    parts = repository.split("/")
    if len(parts) != 2 or name not in FILES or any(part in ("", ".", "..") or "\\" in part for part in parts):
        raise _no_bundle(path, f"one with {repository}/{name}")
    with _workspace() as place:
        folder = Path(place)
        with archive.open(f"{repository}/{name}") as packed, (folder / name).open("wb") as file:
            shutil.copyfileobj(packed, file, _CHUNK)
        if _digest(folder / name) != digest:
            raise _no_bundle(path, f"one whose {repository} is damaged")
        return _store(repository, folder / name)


def _workspace() -> tempfile.TemporaryDirectory[str]:
    cache_folder().mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryDirectory(dir=cache_folder(), prefix=".maskwright-")


def _no_bundle(path: Path, got: str) -> DataError:
    return DataError(
        problem("a bundle of weights", got, where=str(path), next_move="make it again: maskwright weights bundle")
    )


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_address(source: str) -> bool:
    return "://" in source


def _is_file_name(source: str) -> bool:
    return urllib.parse.urlparse(source).path.endswith((".safetensors", ".bin", ".pth", ".pt"))


def describe_cached(items: Sequence[Cached]) -> list[dict[str, Any]]:
    """Return the items as plain rows."""
    return [{"name": i.repository, "path": str(i.path), "bytes": i.size} for i in items]
