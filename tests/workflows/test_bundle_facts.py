"""How a network was pruned, read from its history as pruning writes it."""

from __future__ import annotations

import pytest

from edgeface.workflows.bundle_facts import pruning_method

LATENCY = "pruned: to 4 ms (3.9 predicted, onnxruntime on cpu, fp32, batch 1), ratio 0.3120"


@pytest.mark.parametrize(
    ("history", "words"),
    [
        (None, ""),
        (["new iresnet50, seed 0"], ""),
        (["pruned: ratio 0.5 requested, 0.4994 achieved, l1, uniform"], "l1, uniform"),
        (
            ["pruned: ratio 0.5 requested, 0.5 achieved, l1, uniform", f"{LATENCY}, l2, losses on faces"],
            "to 4 ms, l2",
        ),
        ([f"{LATENCY}, without stages.2.1 stages.2.3, l1, losses on faces of a, b"], "to 4 ms, l1"),
        (
            [f"{LATENCY}, without stages.2.1, bn, losses on faces of a, refitted on 72 faces", "distilled: all"],
            "to 4 ms, bn, refitted on 72 faces",
        ),
    ],
)
def test_the_last_pruning_counts(history: list[str] | None, words: str) -> None:
    assert pruning_method(history) == words
