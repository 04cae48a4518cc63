"""One thread for torch: these networks are too small to share, and a busy machine makes sharing slow."""

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def single_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
