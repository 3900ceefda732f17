#!/usr/bin/env bash
# pydantic 2.14.3: a value goes to JSON and comes back as another one where a number is not finite.
#
# One would expect: what a model wrote, the same model reads; or writing raises. The standard library writes Infinity and
# NaN, and reads them.
# What happens: model_dump_json writes inf, -inf and nan as null. A field that may hold anything reads that as None,
# without a word; a field of type float refuses the text that it wrote itself. model_dump keeps the number.
# Known: the setting ser_json_inf_nan, whose default is "null".
# Why it matters here: a job travels to another machine as such a file, with a specification that may hold any value.
# Where it is handled: harness/identity.py gives no id to what is not finite, and harness/executors/jobs.py computes the
# id of what it has read; docs/datasets.md, "Where libraries surprise".
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet pydantic==2.14.3
cd "$folder"
venv/bin/python - <<'PY'
from typing import Any

import pydantic


class Anything(pydantic.BaseModel):
    value: Any


class Number(pydantic.BaseModel):
    value: float


print(f"pydantic {pydantic.VERSION}")
changed = False
for number in (float("inf"), float("-inf"), float("nan")):
    text = Anything(value=number).model_dump_json()
    back = Anything.model_validate_json(text).value
    try:
        refused = f"read as {Number.model_validate_json(Number(value=number).model_dump_json()).value}"
    except pydantic.ValidationError as error:
        refused = error.errors()[0]["type"]
    print(f"{number} is written as {text}; Any reads {back}; float: {refused}")
    changed |= (text, back, refused) != ('{"value":null}', None, "float_type")
if changed:
    raise SystemExit("behaviour changed")
PY
