"""Pretrained weights: found in the cache, brought there from files, packed and unpacked. No test goes to a network."""

from __future__ import annotations

import functools
import http.server
import json
import threading
import zipfile

import pytest
import timm
import torch
from safetensors.torch import save_file

from maskwright.errors import DataError, MaskwrightError, RecipeError, UsageError
from maskwright.models import build_model, hub
from maskwright.models.weights import _tell, cached_weights
from maskwright.progress import listen
from maskwright.recipe.model import UNetSpec, UPerNetSpec

ENCODER, REPOSITORY = "test_efficientnet", "timm/test_efficientnet.r160_in1k"  # as timm's table has it
SPEC = UNetSpec(encoder=ENCODER, encoder_weights="auto", decoder_channels=(8, 8, 8, 8, 8))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    from huggingface_hub import constants

    folder = tmp_path / "cache" / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    _tell.cache_clear()
    return folder


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A file as timm publishes it: the whole classifier."""
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("published") / f"{REPOSITORY.rpartition('/')[2]}.safetensors"
    save_file(timm.create_model(ENCODER).state_dict(), path)
    return path


def as_hub_lays_it_out(cache, repository, path):
    """Write a cache as huggingface_hub documents it: refs/main names the snapshot, whose file links to a blob."""
    folder = cache / f"models--{repository.replace('/', '--')}"
    for name in ("refs", "blobs", "snapshots/0123abcd"):
        (folder / name).mkdir(parents=True)
    (folder / "refs" / "main").write_text("0123abcd")
    (folder / "blobs" / "feed").write_bytes(path.read_bytes())
    (folder / "snapshots" / "0123abcd" / "model.safetensors").symlink_to("../../blobs/feed")


def test_weights_that_another_tool_fetched_are_found_and_taken(cache, published):
    assert cached_weights(ENCODER) is None
    assert hub.list_cached() == []
    as_hub_lays_it_out(cache, REPOSITORY, published)
    assert [item.repository for item in hub.list_cached()] == [REPOSITORY]
    network, own = build_model(SPEC, in_channels=3, classes=2), timm.models.load_state_dict(str(published))
    assert torch.equal(network.encoder.model.conv_stem.weight, own["conv_stem.weight"])


@pytest.mark.parametrize("source", ["file", "folder", "cache", "home"])
def test_fetch_brings_weights_from_the_disk(cache, published, tmp_path, source):
    if source in ("cache", "home"):
        as_hub_lays_it_out(tmp_path / "other" / "hub", REPOSITORY, published)
    places = {
        "file": published,
        "folder": published.parent,
        "cache": tmp_path / "other/hub",
        "home": tmp_path / "other",
    }
    path = hub.fetch(ENCODER, str(places[source]))
    assert path.read_bytes() == published.read_bytes()
    assert cached_weights(ENCODER) == str(path)
    assert hub.fetch(ENCODER, "/nowhere") == path  # what is there is left alone


def test_huggingface_itself_finds_what_was_added(published):
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    path = hub.fetch(ENCODER, str(published))
    assert try_to_load_from_cache(REPOSITORY, "model.safetensors") == str(path)
    assert hf_hub_download(REPOSITORY, "model.safetensors", local_files_only=True) == str(path)


def test_fetch_brings_weights_from_an_address(published):
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(published.parent))
    handler.func.log_message = lambda *arguments: None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}"
        path = hub.fetch(ENCODER, f"{address}/{published.name}")
        assert path.read_bytes() == published.read_bytes()
        with pytest.raises(MaskwrightError, match="a file of weights"):
            hub.fetch("test_resnet", f"{address}/nothing.safetensors")
        server.shutdown()


def test_a_bundle_carries_weights_to_another_machine(published, tmp_path, monkeypatch):
    from huggingface_hub import constants

    hub.fetch(ENCODER, str(published))
    (packed,) = hub.bundle([ENCODER], tmp_path / "w.zip")
    assert packed.repository == REPOSITORY
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "other"))
    assert cached_weights(ENCODER) is None
    (path,) = hub.add(tmp_path / "w.zip")
    assert cached_weights(ENCODER) == str(path)
    assert path.read_bytes() == published.read_bytes()
    assert not [p for p in (tmp_path / "other").iterdir() if p.name.startswith(".")]


def test_a_bundle_of_what_is_not_cached_says_how_to_get_it(tmp_path):
    with pytest.raises(UsageError, match=r"weights fetch test_resnet"):
        hub.bundle(["test_resnet"], tmp_path / "w.zip")
    assert not (tmp_path / "w.zip").exists()


@pytest.mark.parametrize("fault", ["no zip", "another zip", "damaged", "outside"])
def test_bundles_that_are_none_are_refused(published, tmp_path, cache, fault):
    path = tmp_path / "w.zip"
    if fault == "no zip":
        path.write_bytes(b"nothing")
    else:
        repository = "../../evil" if fault == "outside" else REPOSITORY
        row = {"repository": repository, "file": "model.safetensors", "sha256": "0" * 64}
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("other.json" if fault == "another zip" else "weights.json", json.dumps({"weights": [row]}))
            archive.writestr(f"{repository}/model.safetensors", b"x")
    with pytest.raises(DataError, match="a bundle of weights"):
        hub.add(path)
    assert hub.list_cached() == []


@pytest.mark.parametrize(("name", "message"), [("resnet_18", "did you mean resnet18"), ("test_vit4", "published")])
def test_names_that_have_no_weights(name, message, monkeypatch):
    if name == "test_vit4":
        monkeypatch.setattr(hub, "repository_of", lambda encoder: None)
    with pytest.raises(UsageError, match=message):
        hub.fetch(name)


def test_a_source_without_the_file_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"test_efficientnet(.|\n)*--from"):
        hub.fetch(ENCODER, str(tmp_path))


def test_auto_says_once_what_is_missing_and_how_to_get_it():
    said = []
    with listen(lambda label, done, total, note: said.append(note)):
        for _ in range(3):
            build_model(SPEC, in_channels=3, classes=2)
    assert len(said) == 1
    assert "random numbers" in said[0] and f"maskwright weights fetch {ENCODER}" in said[0]


def test_auto_says_which_weights_it_takes(published):
    path, said = hub.fetch(ENCODER, str(published)), []
    with listen(lambda label, done, total, note: said.append(note)):
        build_model(SPEC, in_channels=3, classes=2)
    assert said == [f"{ENCODER} starts from the pretrained weights that are cached: {path}"]


def test_cached_means_cached():
    with pytest.raises(RecipeError, match=r"cached weights(.|\n)*weights fetch"):
        build_model(SPEC.model_copy(update={"encoder_weights": "cached"}), in_channels=3, classes=2)


@pytest.mark.parametrize("encoder", ["test_convnext", "test_resnet", "test_vit", "test_vit2"])
@pytest.mark.parametrize("in_channels", [1, 3, 5])
def test_published_files_of_whole_classifiers_fit_encoders(tmp_path, encoder, in_channels):
    # convnext's encoder names stages_0 what the file names stages.0; ViTs have another image size and prefix tokens
    torch.manual_seed(1)
    source = timm.create_model(encoder)
    torch.save(source.state_dict(), tmp_path / "w.pth")
    spec = UPerNetSpec(encoder=encoder, encoder_weights=str(tmp_path / "w.pth"), channels=8, pyramid_channels=8)
    network = build_model(spec, in_channels=in_channels, classes=2).eval()
    deep = "blocks.1.mlp.fc1.weight" if "vit" in encoder else None
    if deep:
        assert torch.equal(network.encoder.vit.model.state_dict()[deep], source.state_dict()[deep])
    elif in_channels == 3:  # the deepest map is that of the classifier
        images = torch.randn(1, 3, 64, 64)
        with torch.no_grad():
            found, expected = network.encoder(images)[-1], source.eval().forward_intermediates(images)[1][-1]
        assert torch.allclose(found, expected, atol=1e-5)


def test_patches_of_14_are_resampled_to_16(tmp_path):
    torch.manual_seed(1)
    small = {"depth": 2, "embed_dim": 32, "num_heads": 2}
    source = timm.create_model("vit_small_patch14_dinov2", img_size=28, **small)
    torch.save(source.state_dict(), tmp_path / "w.pth")
    spec = UPerNetSpec(
        encoder="vit_small_patch14_dinov2",
        encoder_weights=str(tmp_path / "w.pth"),
        encoder_arguments=small,
        channels=8,
        pyramid_channels=8,
    )
    vit = build_model(spec, in_channels=3, classes=2).encoder.vit.model
    assert vit.patch_embed.proj.weight.shape == (32, 3, 16, 16)
    assert torch.equal(vit.blocks[1].mlp.fc1.weight, source.blocks[1].mlp.fc1.weight)
    # a constant patch has the same embedding whatever the patch's size
    old, new = source.patch_embed.proj, vit.patch_embed.proj
    values = old(torch.full((1, 3, 14, 14), 0.7)).flatten(), new(torch.full((1, 3, 16, 16), 0.7)).flatten()
    assert torch.allclose(*values, atol=1e-4)
