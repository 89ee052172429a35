"""What is made anew, and in which order. The products themselves take minutes, so none is made here."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from accel.cache.profile import read_profile, write_profile
from pipelines.catalog.catalog import EMBEDDED_FOLDER
from training import products as module
from training.products import Product, base_fingerprint, main, products, status, whole_fingerprint


class Made:
    """A product that is of other weights until it is made."""

    def __init__(self, name: str, log: list[str], found: str = "old", after: str = "new") -> None:
        self.found, self.after, self.log = found, after, log
        self.product = Product(name, lambda: {self.found}, lambda: "new", self.make)

    def make(self) -> None:
        self.log.append(self.product.name)
        self.found = self.after


def run(monkeypatch: pytest.MonkeyPatch, made: list[Made], *options: str) -> None:
    monkeypatch.setattr(module, "products", lambda: tuple(each.product for each in made))
    monkeypatch.setattr("sys.argv", ["products", *options])
    main()


def test_what_is_of_other_weights_is_made_in_order(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log: list[str] = []
    made = [Made("a", log), Made("b", log, found="new"), Made("c", log)]
    run(monkeypatch, made)
    assert log == ["a", "c"]
    assert "b: up to date" in capsys.readouterr().out
    run(monkeypatch, made)
    assert log == ["a", "c"]


def test_chosen_products_only(monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[str] = []
    run(monkeypatch, [Made("a", log), Made("b", log)], "--only", "b")
    assert log == ["b"]


def test_a_check_makes_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    log: list[str] = []
    with pytest.raises(SystemExit) as caught:
        run(monkeypatch, [Made("a", log)], "--check")
    assert (caught.value.code, log) == (1, [])
    assert "a: made with old, the weights are new" in capsys.readouterr().out
    run(monkeypatch, [Made("a", log, found="new")], "--check")


def test_a_product_that_stays_old_stops_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[str] = []
    with pytest.raises(SystemExit, match="a: made with older, the weights are new after it was made anew"):
        run(monkeypatch, [Made("a", log, after="older"), Made("b", log)])
    assert log == ["a"]


def test_a_product_without_a_fingerprint_is_not_up_to_date() -> None:
    product = Product("a", set, lambda: "new", lambda: None)
    assert not product.is_current
    assert status(product) == "a: made with nothing known, the weights are new"


def test_the_products_are_of_the_shipped_weights() -> None:
    for product in products():
        assert product.is_current, status(product)
    assert [product.name for product in products()][:3] == ["outlines", "lightning", "edges"]


def test_a_profile_that_was_written_meanwhile_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = read_profile(module.PROFILE)
    assert ours.recipe is not None
    recipe = replace(ours.recipe, weights="0" * 64)
    monkeypatch.setattr(module, "PROFILE", tmp_path / "embedded.toml")
    (product,) = (product for product in products() if product.name == "TeaCache profile")
    write_profile(module.PROFILE, replace(ours, recipe=recipe, recipe_hash=recipe.digest))
    assert not product.is_current
    write_profile(module.PROFILE, ours)
    assert product.is_current


def test_the_base_has_no_adapters() -> None:
    assert base_fingerprint() != whole_fingerprint()
    adapters = json.loads((EMBEDDED_FOLDER / "adapters.json").read_text())
    assert adapters == dict.fromkeys(("edges", "lightning", "outlines"), base_fingerprint())


def test_making_an_adapter_writes_what_it_was_made_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[Any] = []
    monkeypatch.setattr(module, "ADAPTERS", tmp_path / "adapters.json")
    monkeypatch.setattr(subprocess, "run", lambda command, **_: commands.append(command))
    edges = next(product for product in products() if product.name == "edges")
    edges.make()
    assert commands[0][1:] == ("-m", "training.adapter", "edges")
    assert edges.is_current


def test_lines_of_other_weights_are_dropped_before_step_caches_are_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[Any] = []
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(subprocess, "run", lambda command, **_: commands.append(command))
    results = tmp_path / "benchmarks" / "results" / "step-caches-cpu.jsonl"
    results.parent.mkdir(parents=True)
    lines = [json.dumps({"case": {"place": {"weights": each}}}) for each in ("other", whole_fingerprint())]
    results.write_text("\n".join(lines))
    next(product for product in products() if product.name == "step caches").make()
    assert results.read_text() == f"{lines[1]}\n"
    assert commands == [("make", "bench-caches")]
