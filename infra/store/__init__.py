"""The artifact store. Start at `store.py` for the layout, `manifest.py` for what an artifact says of itself."""

from infra.store.artifact import Artifact
from infra.store.manifest import Counts, Manifest, Quantity
from infra.store.store import Store, open_store

__all__ = ["Artifact", "Counts", "Manifest", "Quantity", "Store", "open_store"]
