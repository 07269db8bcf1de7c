"""The claim of SLCA."""

from remanence.claims.engine.claim import Claim
from remanence.claims.measures.setups import SPLIT_MNIST

CLAIM = Claim(
    system="slca",
    baseline="naive",
    says=(
        "A slow body and a head aligned on features drawn from one Gaussian per class beat sequential "
        "fine-tuning, with no example kept."
    ),
    stream=SPLIT_MNIST,
    training={"model": "mlp:100,100", "batch_size": 10, "epochs": 3, "limit": 500},
    search={"slca": {"lr": [0.01, 0.03, 0.1]}, "naive": {"lr": [0.01, 0.03, 0.1]}},
    equal="epochs; the Gaussians' bytes and the alignment's updates, through the head alone, are on top",
    reduced=(
        "MNIST for CIFAR-100 and ImageNet-R; the body is not pretrained but learned in the first experience, "
        "on two classes, which is harder than the paper's setting"
    ),
)
