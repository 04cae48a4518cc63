"""What the whole suite shares: one Spark session, one quiet environment, one cache of compiled extensions."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from infra.params import Runtime
from infra.settings import quiet_environment
from infra.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import SparkSession

quiet_environment()  # before any test module imports prefect or transformers


@pytest.fixture(scope="session")
def spark() -> "Iterator[SparkSession]":
    """The one Spark session of the run, on two cores."""
    from infra.spark import session, stop_session

    yield session(Runtime(cores=2))
    stop_session()


@pytest.fixture
def store(tmp_path: "Path") -> Store:
    """An empty store."""
    return Store(tmp_path / "store")
