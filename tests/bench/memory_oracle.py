"""What we say llama.cpp takes against what it says itself, over well-known models.

    PYTHONPATH=src:tests python tests/bench/memory_oracle.py [MODEL…] [--write] [--worst]

Asks the embedded engine for a dry run on headers without weights (tests/golden/llama_cpp): 20 to
200 ms a question. Prints the error of each class per model, least and greatest over all settings;
`--write` stores the answers for `make test`, `--worst` names the settings of the greatest error.
"""

import argparse
import tempfile
from importlib.metadata import version
from pathlib import Path

from aimindserve.formats.llama_cpp.cache import kv_cache
from aimindserve.formats.llama_cpp.compute import compute_buffer, output_buffer
from golden.llama_cpp import answers
from golden.llama_cpp.headers import header, slugs
from golden.llama_cpp.oracle import Oracle, fields
from unit.formats.gguf_files import sparse

FORMULAS = (kv_cache, compute_buffer, output_buffer)
ROUNDING = 12_000


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--worst", action="store_true")
    arguments = parser.parse_args()
    oracle, found = Oracle(), {}
    engine = f"xllamacpp {version('xllamacpp')}"
    print(f"{engine}; error in percent, least to greatest\n{'':34}", end="")
    print("".join(f"{name:>18}" for name in (*answers.CLASSES, "total")))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.gguf"
        for slug in arguments.models or slugs():
            sparse(path, *header(slug, answers.MIX))
            facts = answers.facts(slug)
            found[slug] = [one(oracle, path, settings) for settings in answers.grid(facts)]
            show(slug, facts, found[slug], arguments.worst)
    oracle.close()
    if arguments.write:
        answers.write(engine, {**answers.stored()[1], **found})


def one(oracle, path, settings):
    answer = oracle.ask(path, **fields(settings))
    return None if "why" in answer else [answer[name] for name in answers.CLASSES]


def show(slug, facts, given, worst):
    errors = []
    for settings, answer in zip(answers.grid(facts), given, strict=True):
        if answer is not None:
            ours = [formula(facts, settings) for formula in FORMULAS]
            pairs = [*zip(ours, answer, strict=True), (sum(ours), sum(answer))]
            errors.append(([error(mine, theirs) for mine, theirs in pairs], settings))
    ranges = []
    for column in range(4):
        column_errors = [each[column] for each, _ in errors]
        ranges.append(f"{min(column_errors):+8.2f} {max(column_errors):+7.2f}")
    refused = given.count(None)
    print(
        f"{slug:34}" + "".join(f"{each:>18}" for each in ranges),
        f"  {refused} refused" if refused else "",
        flush=True,
    )
    if worst:
        each, settings = max(errors, key=lambda entry: abs(entry[0][1]))
        print(f"    {each[1]:+.2f} % compute: {settings}")


def error(mine, theirs):
    return 0.0 if abs(mine - theirs) <= ROUNDING else 100 * (mine / max(theirs, 1) - 1)


if __name__ == "__main__":
    main()
