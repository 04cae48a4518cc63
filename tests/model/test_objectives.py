"""What objectives keep beside the network."""

from pathlib import Path

import torch

from model.data import TokenRows
from model.objectives import NextToken
from tests.model.training_jobs import write_data


def test_bytes_of_tokens_lie_where_the_labels_are(tmp_path: Path):
    """The device `meta` stands for an accelerator: what is on it cannot be mixed with what is not."""
    write_data(tmp_path)
    device = torch.device("meta")
    objective = NextToken(TokenRows([tmp_path / "train"], 32), torch.arange(64), device)
    batch = objective.micro_batch([0, 1])
    assert {tensor.device for tensor in batch.tensors.values() if tensor is not None} == {device}
    assert objective.token_bytes is not None
    assert objective.token_bytes.device == device
