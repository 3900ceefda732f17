"""DVC reads params.yaml and both registries by YAML 1.2, PyYAML by 1.1: a scalar must mean the same to both.

The oracle is YAML 1.2.2's core schema (section 10.3.2), written out here; where ruamel.yaml, DVC's reader, is
installed, it is asked too.
"""

import math
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.errors import ConfigurationError
from harness.yaml_files import load_yaml

ROOT = Path(__file__).resolve().parents[2]
ANY_NUMBER = (
    r"[-+]?[0-9_.]{0,4}([eE][-+]?[0-9]{0,2})?|0[xob][0-9a-fA-F_]{1,3}|[0-9]{1,4}[-:][0-9]{1,2}([-:][0-9]{1,2})?"
)
DISPUTED = [
    "010",
    "-010",
    "08",
    "00",
    "0o10",
    "0b11",
    "1_000",
    "1_0.5",
    "0x1_F",
    ".5e2",
    "1:30",
    "190:20:30",
    "2022-06-19",
]
DISPUTED += ["2001-12-14t21:59:43.10-05:00", "yes", "No", "on", "OFF", "="]
WORDS = ["yes", "No", "on", "OFF", "y", "N", "true", "True", "FALSE", "null", "Null", "~", "=", "one", "no-one", "no1"]
WORDS += [".inf", "-.INF", ".nan", "e5", "1e", "0x"]


def ours(path: Path, text: str) -> object:
    path.write_text(f"repeats: {text}\n", encoding="utf-8")
    return load_yaml(path)["repeats"]


def core_schema(text: str) -> object:
    """Read a plain scalar by the table of YAML 1.2.2, section 10.3.2."""
    if re.fullmatch(r"null|Null|NULL|~|", text):
        return None
    if re.fullmatch(r"true|True|TRUE|false|False|FALSE", text):
        return text.lower() == "true"
    if re.fullmatch(r"[-+]?[0-9]+", text):
        return int(text, 10)
    if re.fullmatch(r"0o[0-7]+", text):
        return int(text[2:], 8)
    if re.fullmatch(r"0x[0-9a-fA-F]+", text):
        return int(text[2:], 16)
    if re.fullmatch(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", text):
        return float(text)
    if re.fullmatch(r"[-+]?(\.inf|\.Inf|\.INF)", text):
        return -math.inf if text[0] == "-" else math.inf
    return math.nan if re.fullmatch(r"\.nan|\.NaN|\.NAN", text) else text


def dvcs(text: str) -> object:
    reader = pytest.importorskip("ruamel.yaml", reason="DVC's reader is not installed")
    return reader.YAML(typ="safe", pure=True).load(f"repeats: {text}\n")["repeats"]


@pytest.mark.parametrize("text", DISPUTED)
def test_a_scalar_that_yaml_1_1_and_1_2_read_differently_is_refused_with_its_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(f"profile: smoke\nrepeats: {text}\n", encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        load_yaml(path)
    assert "params.yaml, line 2" in str(caught.value) and f"found {text}," in str(caught.value)
    assert "\n" not in str(caught.value)
    assert ours(path, f'"{text}"') == text  # in quotes it is text, to everybody


def test_a_key_is_a_scalar_too(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("options: {no: 1}\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="line 1: found no"):
        load_yaml(path)


@pytest.mark.parametrize(("text", "number"), [("5e-2", 0.05), ("1e-4", 0.0001), ("1.5e3", 1500.0), ("+3E1", 30.0)])
def test_a_number_with_an_exponent_is_a_number(tmp_path: Path, text: str, number: float) -> None:
    found = ours(tmp_path / "params.yaml", text)
    assert type(found) is float and found == number == core_schema(text)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.from_regex(ANY_NUMBER, fullmatch=True), st.sampled_from(WORDS)))
def test_whatever_a_scalar_is_we_read_it_as_yaml_1_2_or_refuse_it(tmp_path: Path, text: str) -> None:
    try:
        found = ours(tmp_path / "params.yaml", text)
    except ConfigurationError:
        return
    assert repr(found) == repr(core_schema(text)), text


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.from_regex(ANY_NUMBER, fullmatch=True), st.sampled_from(WORDS)))
def test_whatever_a_scalar_is_dvc_reads_it_as_we_do_or_we_refuse_it(tmp_path: Path, text: str) -> None:
    try:
        found = ours(tmp_path / "params.yaml", text)
    except ConfigurationError:
        return
    assert repr(found) == repr(dvcs(text)), text
