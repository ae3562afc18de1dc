"""What is shown of results."""

import pytest

from benchmarks import plots, report, targets
from benchmarks.columns import COLUMNS, spread
from benchmarks.tables import TABLES
from tests.benchmarks.rows import row

TINY = TABLES["scaling"]  # A_f, drop, updates, seconds, CPU seconds, peak MiB
FIGURES = {"cpu_seconds": 8.0, "peak_memory": 1000.0}


def line(text, label):
    return next(cells for cells in text.splitlines() if f"| {label} " in cells)


def test_a_spread_is_the_mean_and_the_sample_standard_deviation():
    assert spread([1.0, 2.0, 3.0], digits=2) == "2.00 ± 1.00"
    assert spread([2.0], digits=1) == "2.0"
    assert spread([None, None], digits=1) == "–"


def test_a_spread_says_of_how_many_values_it_is_if_some_are_missing():
    assert spread([1.0, None, 3.0], digits=1) == "2.0 ± 1.4 (n = 2)"


def test_what_a_diverged_network_made_nothing_of_is_not_known():
    assert COLUMNS["collapse"].value(row(collapse=float("nan"))) is None


def test_a_row_holds_mean_and_deviation_over_its_seeds():
    measured = [
        row(seed=0, test_accuracy=91.0, seconds=10.0, **FIGURES),
        row(seed=1, test_accuracy=89.0, seconds=12.0, **FIGURES),
        row("l2ul", seed=0, **FIGURES),
    ]
    text = report.render("scaling", TINY, measured, [])
    figures = "100.00 ± 0.00 | 2.00 ± 1.41 | 20 ± 0 | 11.0 ± 1.4 | 8.0 ± 0.0 | 1000 ± 0"
    assert line(text, "structguard") == f"| cifar10 resnet20 cpu | 16 | structguard | 2 | {figures} |"
    assert line(text, "l2ul") == "| cifar10 resnet20 cpu | 16 | l2ul | 1 | 100.00 | 2.00 | 20 | 10.0 | 8.0 | 1000 |"


def test_a_row_measured_with_settings_that_have_changed_is_marked():
    changed = row(**FIGURES)
    changed["settings"] = changed["settings"] | {"margin": 17.0}
    text = report.render("scaling", TINY, [changed, row("l2ul", **FIGURES)], [])
    assert "| structguard † |" in text
    assert "| l2ul |" in text
    assert "† measured with settings that have changed since." in text


def test_a_table_says_on_what_it_was_measured():
    """Bfloat16 makes more of a difference than most machines do."""
    measured = [row(**FIGURES), row("l2ul", bfloat16=False, **FIGURES)]
    said = "Measured on a machine, 1 thread(s), torch 2; a machine, 1 thread(s), torch 2, no bfloat16, 2026-01-01 to"
    assert said in report.render("scaling", TINY, measured, [])


def test_a_table_of_which_one_row_is_measured_for_another_table_is_not_shown():
    assert report.render("scaling", TINY, [row(**FIGURES)], []) is None


def test_a_k_that_is_not_usual_is_shown_where_its_own_command_measured_it():
    measured = [row(k=5, **FIGURES), row("l2ul", k=5, **FIGURES)]
    assert report.render("scaling", TINY, measured, []) is None
    assert "| 5 | l2ul |" in report.render("scaling", TINY, measured, measured)


def test_rows_on_which_settings_are_chosen_are_not_reported():
    assert [r["seed"] for r in report.reported([row(seed=4), row(seed=100), row(seed=109)])] == [4]


def test_what_was_lost_in_a_class_level_run_is_the_mean_over_the_other_classes():
    by_class = {"test_accuracy_by_class_before": [90.0, 80.0, 70.0], "test_accuracy_by_class": [10.0, 78.0, 64.0]}
    measured = row(forgotten_class=0, **by_class)
    assert COLUMNS["drop of the others"].value(measured) == pytest.approx(4.0)
    assert COLUMNS["A_test of the class"].value(measured) == 10.0
    assert COLUMNS["drop of the others"].value(row()) is None


def test_a_target_is_met_when_every_limit_holds_and_says_what_is_missing():
    measured = [row(seed=s, test_accuracy=91.9) for s in (0, 1)]
    assert (
        "| met: resnet20, k = 16, A_f 100.00, drop 0.10 (n = 2)<br>7 of 8 not measured |"
        in targets.render(measured).splitlines()[2]
    )


def test_one_image_that_one_run_did_not_forget_misses_the_target_that_all_are():
    measured = [row(seed=0, test_accuracy=92.0), row(seed=1, test_accuracy=92.0, forget_accuracy=93.75)]
    assert "missed: resnet20, k = 16, A_f 93.75, drop 0.00 (n = 2)" in targets.render(measured)


def test_a_target_that_compares_needs_both_and_is_about_their_quotient():
    ours = [row(k=256, cpu_seconds=1.0)]
    assert "k = 256 | CPU seconds ≤ 0.05 | not measured" in targets.render(ours)
    peers = [row("l2ul", k=256, cpu_seconds=25.0)]
    assert "met: resnet20, k = 256, CPU seconds 0.040 (n = 1)" in targets.render([*ours, *peers])


def test_without_results_from_a_cpu_those_from_an_accelerator_count_and_old_settings_show():
    measured = [row(device="cuda", test_accuracy=91.9)]
    assert "| met: resnet20 on cuda, k = 16, A_f 100.00, drop 0.10 (n = 1)<br>" in targets.render(measured)
    (old,) = measured
    old["settings"]["lr"] = 1.0
    assert "drop 0.10 (n = 1) †" in targets.render(measured)


def test_present_settings_on_an_accelerator_count_before_old_ones_on_a_cpu():
    present, old = row(device="cuda", test_accuracy=91.9), row(test_accuracy=80.0)
    old["settings"]["lr"] = 1.0
    assert "| met: resnet20 on cuda, k = 16, A_f 100.00, drop 0.10 (n = 1)<br>" in targets.render([old, present])


def test_plots_are_small_pictures_of_what_there_is(tmp_path):
    measured = [row(m, k=k, seed=s) for m in ("structguard", "l2ul") for k in (16, 64) for s in (0, 1)]
    drawn = plots.draw(measured, tmp_path)
    assert sorted(path.name.partition("-")[0] for path in drawn.values()) == [
        "accuracy",
        "collapse",
        "robustness",
        "time",
    ]
    assert all(0 < path.stat().st_size < 60_000 for path in drawn.values())
    assert plots.draw([row()], tmp_path) == {}
