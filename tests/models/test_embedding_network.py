"""Networks with embeddings: logits as without them, one encoder, and a second decoder or a shared one."""

from __future__ import annotations

import pytest
import torch
from test_models import DEAD, SPECS
from torch import nn

from maskwright.checkpoint import KEY, describe, load_trained
from maskwright.errors import RecipeError
from maskwright.inference import infer
from maskwright.models import MODELS, EmbeddingNetwork, build_model
from maskwright.models.embedding import SharedDecoder, TwoDecoders
from maskwright.models.library import build_library
from maskwright.recipe.data import DataSpec
from maskwright.recipe.embedding import EmbeddingSpec
from maskwright.recipe.model import PythonModelSpec, UNetSpec
from maskwright.recipe.networks import CustomUNetSpec
from maskwright.recipe.optimise import AdamWSpec
from maskwright.recipe.train import TrainSpec
from maskwright.train.optimizer import parameter_groups
from maskwright.types import Category

KINDS = [kind for kind in MODELS if kind is not PythonModelSpec]
every = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


def build(kind, *, seed=0, levels=1, **options):
    torch.manual_seed(seed)
    embedding = EmbeddingSpec(channels=5, **options) if options.pop("embedding", True) else None
    spec = SPECS[kind].model_copy(update={"embedding": embedding})
    return build_model(spec, in_channels=1, classes=3, levels=levels)


@every
def test_both_outputs_of_one_pass(kind):
    network = build(kind).eval()
    assert isinstance(network, EmbeddingNetwork)
    assert isinstance(network, TwoDecoders if MODELS[kind] is build_library else SharedDecoder)
    images = torch.randn(2, 1, 64, 96)
    with torch.no_grad():
        logits, embeddings = network.both(images)
        assert torch.equal(network(images), logits)
    assert logits.shape == (2, 3, 64, 96)
    assert embeddings.shape == (2, 5, 64, 96)
    assert infer([network], images[..., :37, :85]).shape == (2, 3, 37, 85)


@every
def test_both_outputs_train_the_encoder_and_their_own_decoder(kind):
    network = build(kind).train()
    _, embeddings = network.both(torch.randn(2, 1, 64, 64))
    embeddings.square().mean().backward()
    got = {name for name, p in network.named_parameters() if p.grad is not None and (p.grad != 0).any()}
    assert any("encoder" in name or name.startswith("network.") for name in got) or kind in DEAD
    if isinstance(network, TwoDecoders):
        assert any(name.startswith("embedding_decoder.") for name in got) or kind in DEAD
        assert not any(name.startswith(("decoder.", "segmentation_head.")) for name in got)


@every
def test_the_shared_form_is_there_for_all(kind):
    network = build(kind, decoder="shared").eval()
    assert isinstance(network, SharedDecoder)
    logits, embeddings = network.both(torch.randn(1, 1, 64, 64))
    assert (logits.shape[1], embeddings.shape[1]) == (3, 5)


@pytest.mark.parametrize("decoder", ["own", "shared"])
def test_between_two_embeddings_lies_no_third_one(decoder):
    """Of a network whose outputs are coarser by 4, a cell of 4 × 4 pixels has one embedding, and many logits."""
    torch.manual_seed(0)
    wanted = {"embedding": EmbeddingSpec(channels=5, decoder=decoder), "output_stride": 4}
    network = build_model(SPECS[UNetSpec].model_copy(update=wanted), in_channels=1, classes=3).eval()
    with torch.no_grad():
        logits, embeddings = network.both(torch.randn(1, 1, 64, 64))
    cells = embeddings.unfold(2, 4, 4).unfold(3, 4, 4).flatten(4)
    assert (cells == cells[..., :1]).all() and cells[..., 0].unique().numel() > 100
    assert (logits[..., 2] != logits[..., 3]).any()


@pytest.mark.parametrize("kind", [UNetSpec, CustomUNetSpec])
def test_levels_are_those_of_the_logits(kind):
    network = build(kind, levels=2).train()
    logits, embeddings = network.both(torch.randn(2, 1, 64, 64))
    assert [level.shape[1] for level in logits] == [3, 3]
    assert embeddings.shape[1] == 5
    assert embeddings.shape[2:] == logits[0].shape[2:]
    assert isinstance(network(torch.randn(2, 1, 64, 64)), list)


def test_a_second_decoder_is_asked_for_where_there_can_be_none():
    with pytest.raises(RecipeError, match=r"model\.embedding\.decoder"):
        build(CustomUNetSpec, decoder="own")


def test_a_semantic_network_s_state_fits():
    plain = build(UNetSpec, embedding=False).eval()
    network = build(UNetSpec, seed=1).eval()
    images = torch.randn(1, 1, 64, 64)
    with torch.no_grad():
        before = network(images)
        missing, unexpected = network.load_state_dict(plain.state_dict(), strict=False)
        assert torch.equal(network(images), plain(images))
    assert not torch.equal(before, plain(images))
    assert not unexpected
    assert all(name.startswith("embedding_") for name in missing)


def test_embeddings_at_a_coarser_stride_are_not_mixed_between_pixels():
    torch.manual_seed(0)
    spec = UNetSpec(encoder="resnet10t", encoder_weights="none", decoder_channels=(16, 16, 8, 8, 8), output_stride=4)
    spec = spec.model_copy(update={"embedding": EmbeddingSpec(channels=4)})
    network = build_model(spec, in_channels=1, classes=2)
    images = torch.randn(2, 1, 64, 64)
    assert network.train().both(images)[1].shape == (2, 4, 16, 16)
    with torch.no_grad():
        logits, embeddings = network.eval().both(images)
    assert embeddings.shape == (2, 4, 64, 64)
    blocks = embeddings.unflatten(3, (16, 4)).unflatten(2, (16, 4))
    assert (blocks == blocks[:, :, :, :1, :, :1]).all()
    assert not (logits.unflatten(3, (16, 4)) == logits.unflatten(3, (16, 4))[..., :1]).all()


@pytest.mark.parametrize("kind", [UNetSpec, CustomUNetSpec])
def test_a_checkpoint_gives_the_same_network(kind, tmp_path):
    network = build(kind)
    spec = SPECS[kind].model_copy(update={"embedding": EmbeddingSpec(channels=5)})
    data = DataSpec(
        root="/nowhere",
        categories=tuple(Category(n, str(n), values=(n,)) for n in range(3)),
        channels=1,
        value_range=(0.0, 255.0),
        mean=(0.5,),
        std=(0.25,),
    )
    about = describe(spec, data, scale=1.0, precision="float32", channels_last=False)
    state = {f"step.network.{key}": value for key, value in network.state_dict().items()}
    torch.save({KEY: about, "state_dict": state}, tmp_path / "a.ckpt")
    images = torch.randn(1, 1, 64, 64)
    with torch.no_grad():
        ours, theirs = load_trained(tmp_path / "a.ckpt").network.both(images), network.eval().both(images)
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_both_decoders_learn_at_the_head_s_rate():
    step = nn.Module()
    step.network = build(UNetSpec)
    groups = parameter_groups(step, TrainSpec(lr=1e-3, head_lr=10.0, optimizer=AdamWSpec()))
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    found = {name: rates[id(p)] for name, p in step.named_parameters() if p.requires_grad}
    for name, rate in found.items():
        assert rate == pytest.approx(1e-3 if name.startswith("network.encoder.") else 1e-2)
    assert any(name.startswith("network.embedding_decoder.") for name in found)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [UNetSpec, CustomUNetSpec])
def test_export_keeps_the_logits(kind):
    network, images = build(kind).eval(), torch.randn(2, 1, 64, 96)
    program = torch.export.export(network, (images,))
    with torch.no_grad():
        assert torch.allclose(program.module()(images), network(images), atol=1e-4)
