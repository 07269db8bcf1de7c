"""The house stands: no circle among its modules, whatever an import is for; floors are held by import-linter."""

import graphlib

import grimp


def imports():
    """What each module imports, lazily or for types alone, too."""
    graph = grimp.build_graph("remanence", cache_dir=None)
    return {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}


def circle(edges):
    """One circle, as its modules in order, or ``None``."""
    try:
        tuple(graphlib.TopologicalSorter(edges).static_order())
    except graphlib.CycleError as error:
        return error.args[1]
    return None


def test_no_module_imports_itself_by_a_detour():
    edges = imports()
    assert len(edges) > 400 and "remanence.streams.experience" in edges["remanence.learner"], "types count, too"
    assert circle(edges) is None


def test_a_circle_is_found():
    assert set(circle({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}})) == {"a", "b", "c"}
    assert circle({"a": {"b", "c"}, "b": {"c"}}) is None
