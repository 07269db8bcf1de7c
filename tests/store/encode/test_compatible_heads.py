"""Compatible heads: rotations, isometry, what is held to the old space, gradients, and saving."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from remanence.errors import Diverged, StateError, UsageError
from remanence.store.encode.compatible.bct import BCT
from remanence.store.encode.compatible.bt2 import BT2
from remanence.store.encode.compatible.head import EmbeddingHead, class_means, classification
from remanence.store.encode.compatible.oca import OCA
from remanence.store.encode.compatible.rotation import Rotation

QUICK = {"epochs": 15, "lr": 0.02, "hidden": 32, "batch_size": 40}


def turned(rotation, seed):
    with torch.no_grad():
        rotation.generator.copy_(torch.randn(rotation.generator.shape, generator=torch.Generator().manual_seed(seed)))
    return rotation


@pytest.fixture(scope="module")
def rows():
    """Ten classes in twelve numbers, and the vectors of an old head that knows the first five."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(10, 12, generator=generator)
    labels = torch.arange(10).repeat(40)
    features = centres[labels] + 0.3 * torch.randn(400, 12, generator=generator)
    known = labels < 5
    old = EmbeddingHead(12, 6, seed=7, **QUICK).fit(features[known], labels[known])
    return features, labels, old(features).detach()


def built(kind, **changes):
    sizes = {BT2: {"extra": 3}, BCT: {"dimension": 9}, OCA: {"dimension": 9}}[kind]
    return kind(12, 6, seed=1, **{**QUICK, **sizes, **changes})


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 20), st.integers(0, 1000))
def test_a_rotation_is_orthogonal_whatever_its_parameters(dimension, seed):
    matrix = turned(Rotation(dimension), seed).matrix()
    assert torch.allclose(matrix @ matrix.T, torch.eye(dimension), atol=1e-4)
    assert math.isclose(float(torch.linalg.det(matrix.detach().double())), 1, abs_tol=1e-3)


def test_a_rotation_begins_as_the_identity_and_its_gradient_is_the_numerical_one():
    rotation = Rotation(4).double()
    x = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert torch.equal(rotation(x), x)
    turned(rotation, 2)
    assert torch.autograd.gradcheck(
        lambda a: torch.func.functional_call(rotation, {"generator": a}, (x,)),
        (rotation.generator.detach().clone().requires_grad_(),),
    )
    rotation(x)[:, 0].sum().backward()
    assert torch.isfinite(rotation.generator.grad).all()
    assert torch.allclose(rotation.generator.grad, -rotation.generator.grad.T)  # only the antisymmetric part counts


@pytest.mark.parametrize("kind", [BCT, BT2, OCA])
def test_comparing_with_zeros_appended_to_old_vectors_ranks_as_comparing_in_the_old_space(kind, rows):
    features, _, old = rows
    head = built(kind)
    with torch.no_grad():
        vectors = head(features[:20])
        padded = functional.pad(old, (0, vectors.shape[1] - 6))
        lengths = vectors[:, :6].norm(dim=1, keepdim=True)
        assert torch.allclose(vectors @ padded.T, lengths * (head.to_old(vectors) @ old.T), atol=1e-5)
    assert torch.allclose(vectors.norm(dim=1), torch.ones(20), atol=1e-5)


@pytest.mark.parametrize("kind", [BCT, BT2, OCA])
def test_a_trained_head_finds_new_classes_and_is_understood_by_the_old_vectors(kind, rows):
    features, labels, old = rows
    head = built(kind).fit(features, labels, old)
    with torch.no_grad():
        vectors = head(features)
        held = head.to_old(vectors) @ old.T
        alone = EmbeddingHead(12, 6, dimension=9, seed=1, **QUICK).fit(features, labels)
        stranger = alone.to_old(alone(features)) @ old.T
    own = (vectors @ vectors.T).fill_diagonal_(-2)
    assert float((labels[own.argmax(1)] == labels).float().mean()) > 0.9
    known = labels < 5
    hits = [float((labels[scores.argmax(1)] == labels)[known].float().mean()) for scores in (held, stranger)]
    assert hits[0] > 0.9 and hits[1] < 0.6
    assert head.updates == (300 if kind is BT2 else 150)


def test_class_means_are_directions_of_means():
    old = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    expected = torch.tensor([[math.sqrt(0.5), math.sqrt(0.5)], [0.0, 1.0]])
    assert torch.allclose(class_means(old, torch.tensor([0, 0, 1]), 2), expected)
    assert float(classification(old[:1], torch.eye(2), torch.tensor([0]))) < 1e-6


@pytest.mark.parametrize("kind", [BCT, BT2, OCA])
def test_training_again_gives_the_same_bits_and_leaves_the_global_generator(kind, rows):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, other = (built(kind, epochs=2).fit(*rows) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    with torch.no_grad():
        assert torch.equal(one(rows[0]), other(rows[0]))


@pytest.mark.parametrize("kind", [BCT, BT2, OCA])
def test_a_head_is_saved_and_loaded(kind, rows, tmp_path):
    head = built(kind, epochs=2).fit(*rows)
    head.save(tmp_path / "head.safetensors")
    loaded = kind.load(tmp_path / "head.safetensors")
    with torch.no_grad():
        assert torch.equal(loaded(rows[0]), head(rows[0]))
    assert loaded.arguments() == head.arguments()
    other = {BCT: OCA, BT2: BCT, OCA: BT2}[kind]
    with pytest.raises(StateError, match=f"holds {kind.__name__}, not {other.__name__}"):
        other.load(tmp_path / "head.safetensors")
    (tmp_path / "torn").write_bytes((tmp_path / "head.safetensors").read_bytes()[:-50])
    with pytest.raises(StateError, match="truncated"):
        kind.load(tmp_path / "torn")


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda rows: BT2(12, 6, extra=7), "7 extra numbers were asked for"),
        (lambda rows: BT2(12, 6, extra=2, new_dimension=3), "vectors of 5 numbers were asked for"),
        (lambda rows: BT2(12, 6, extra=0), "extra must be"),
        (lambda rows: BCT(12, 6, influence=-1), "influence must be"),
        (lambda rows: OCA(12, 6, aligment=1), "no hyperparameter 'aligment'"),
        (lambda rows: OCA(12, 6, lr=0), "lr must be"),
        (lambda rows: built(OCA).fit(rows[0], rows[1]), "oca needs the old encoder's vectors"),
        (lambda rows: built(BCT).fit(rows[0], rows[1]), "bct needs the old encoder's vectors"),
        (lambda rows: built(BT2).fit(rows[0], rows[1]), "bt2 needs the old encoder's vectors"),
        (lambda rows: built(OCA).fit(rows[0], rows[1][:3], rows[2]), "3 labels were given"),
        (lambda rows: built(OCA).fit(rows[0], rows[1], rows[2][:, :4]), r"old vectors of shape \(400, 4\)"),
        (lambda rows: built(OCA).fit(rows[0][:, :5], rows[1], rows[2]), r"features of shape \(400, 5\)"),
    ],
)
def test_what_cannot_be_used_is_said(act, message, rows):
    with pytest.raises(UsageError, match=message):
        act(rows)


def test_a_loss_that_is_not_finite_is_said(rows):
    with pytest.raises(Diverged, match="lower the learning rate"):
        built(OCA).fit(rows[0] * float("nan"), rows[1], rows[2])
