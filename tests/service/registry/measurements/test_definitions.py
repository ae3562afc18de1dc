"""One table says what measurements are called."""

import ast
from pathlib import Path

import service
from service.registry.measurements.definitions import CURVES, MEASUREMENTS, Detail, shown

NAMES = {name for each in (*MEASUREMENTS, *CURVES) for name in (each.path, each.label)}


def test_a_value_is_read_where_it_stands():
    """And is missing where nothing around it was measured, which is no fault."""
    advantage = next(each for each in MEASUREMENTS if each.path == "membership.unseen.advantage")
    assert advantage.of({"membership": {"unseen": {"advantage": 0.25}}}) == 0.25
    for measured in ({}, {"membership": None}, {"membership": {"unseen": None}}):
        assert advantage.of(measured) is None


def test_who_is_told_more_is_told_all_that_others_are():
    """In few words if it is not a certificate, which has a sentence for each."""
    assert shown(Detail.CERTIFICATE) == list(MEASUREMENTS)
    assert len({each.path for each in MEASUREMENTS}) == len({each.heading for each in MEASUREMENTS})
    assert all(each.phrase for each in shown(Detail.TERMINAL))
    assert len(shown(Detail.HEADLINE)) < len(shown(Detail.PAGE)) < len(shown(Detail.TERMINAL))


def test_no_other_module_of_the_service_lists_measurements():
    """Not two names of them stand in one literal: what is shown where, and how it is called, is told by the table."""
    root = Path(service.__file__).parent
    own = root / "registry" / "measurements"
    lists = [
        f"{path.relative_to(root)}:{node.lineno}"
        for path in root.rglob("*.py")
        if own not in path.parents
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Tuple | ast.List | ast.Set | ast.Dict)
        and len(NAMES & {inner.value for inner in ast.walk(node) if isinstance(inner, ast.Constant)}) > 1
    ]
    assert lists == []
