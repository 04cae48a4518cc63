from flows.road import RunOptions, walking
from infra.params import Runtime
from infra.store.maintenance import find_garbage
from tests.infra.test_store import made


def test_gc_leaves_alone_what_a_flow_has_resolved_and_not_used_yet(store):
    old = made(store, "old")
    with walking("pipeline", Runtime(), RunOptions(store=str(store.root))) as road:
        road.open(old.ref)
        assert find_garbage(store, keep=0).refs == []
    assert find_garbage(store, keep=0).refs == [old.ref]
