"""Keep the Hugging Face Trainer: rehearsal hooked into a small vision transformer, one `train` per experience.

Run it with ``python examples/attach_huggingface.py`` (it needs ``pip install transformers accelerate``).
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Sequence
from typing import Any

import torch
import transformers

import remanence as rm
from remanence.weights.part import Part
from remanence.weights.penalties.ewc import EWC
from remanence.weights.replay.er import ER


class RehearsingTrainer(transformers.Trainer):
    """The one method to override: what the model is fed comes from the parts too."""

    attached: Any = None

    def compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, **kwargs: Any) -> Any:
        x, y = self.attached.rehearse(inputs["pixel_values"], inputs["labels"])
        outputs = model(pixel_values=x, labels=y)
        return (outputs.loss, outputs) if return_outputs else outputs.loss


def train(parts: Sequence[Part], experiences: int = 5) -> list[float]:
    """Learn the digits two classes at a time; return the accuracy on each pair at the end."""
    transformers.set_seed(0)
    stream = rm.streams.split("digits", experiences=experiences)
    config = transformers.ViTConfig(
        image_size=8, patch_size=2, num_channels=1, hidden_size=48, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=96, num_labels=10, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    model = transformers.ViTForImageClassification(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    with rm.attach(model, optimizer, parts, head="classifier") as attached, tempfile.TemporaryDirectory() as folder:
        for experience in stream.experiences():
            rows = experience.examples.span(0, len(experience.examples))
            data = [{"pixel_values": x / 255, "labels": y} for x, y in zip(rows.x, rows.y, strict=True)]
            settings = transformers.TrainingArguments(
                folder, per_device_train_batch_size=10, num_train_epochs=3, report_to=[], save_strategy="no",
                logging_strategy="no", disable_tqdm=True, use_cpu=True, max_grad_norm=0.0,
            )  # fmt: skip
            # one optimizer throughout, with a constant rate: the schedule of a fit would end at zero
            schedule = torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
            trainer = RehearsingTrainer(model, settings, train_dataset=data, optimizers=(optimizer, schedule))
            trainer.remove_callback(transformers.PrinterCallback)
            trainer.attached = attached
            trainer.train()
            attached.boundary((rows.x / 255, rows.y))
    model.eval()
    with torch.no_grad():
        return [float((model(test.x / 255).logits.argmax(1) == test.y).float().mean()) for test in stream.tests]


def main() -> None:
    transformers.logging.set_verbosity_error()
    warnings.filterwarnings("ignore", message=".*batching rule.*")  # measuring importances falls back to a loop there
    for name, parts in {
        "nothing": [],
        "rehearsal": [ER(size=100)],
        "rehearsal and elastic weights": [ER(size=100), EWC()],
    }.items():
        scores = train(parts)
        print(f"{name:30} {sum(scores) / len(scores):.2f}   {'  '.join(f'{score:.2f}' for score in scores)}")


if __name__ == "__main__":
    main()
