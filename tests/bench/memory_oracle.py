"""What we say llama.cpp takes against what it says itself, over well-known models.

    PYTHONPATH=src:tests python tests/bench/memory_oracle.py [MODEL…] [--write] [--worst]
    PYTHONPATH=src:tests python tests/bench/memory_oracle.py [MODEL…] --drawn N

Asks the embedded engine for a dry run on headers without weights (tests/golden/llama_cpp): 20 to
200 ms a question. Prints the error of each class per model, least and greatest over all settings;
`--write` stores the answers for `make test`, `--worst` names the settings of the greatest error.
`--drawn` asks about N models of every family whose sizes are drawn at random.
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
from golden.llama_cpp.shapes import FAMILIES, draw
from unit.formats.gguf_files import sparse

FORMULAS = (kv_cache, compute_buffer, output_buffer)
ROUNDING = 12_000


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--worst", action="store_true")
    parser.add_argument("--drawn", type=int, default=0, metavar="N")
    arguments = parser.parse_args()
    oracle, found = Oracle(), {}
    engine = f"xllamacpp {version('xllamacpp')}"
    print(f"{engine}; error in percent, least to greatest\n{'':34}", end="")
    print("".join(f"{name:>18}" for name in (*answers.CLASSES, "total")))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.gguf"
        if arguments.drawn:
            for slug in arguments.models or FAMILIES:
                show_drawn(oracle, path, slug, range(arguments.drawn))
            oracle.close()
            return
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


def show_drawn(oracle, path, slug, seeds):
    errors, refused = [], 0
    for seed in seeds:
        drawn = header(slug, answers.MIX, draw(slug, seed))
        sparse(path, *drawn)
        facts = answers.facts_in(*drawn)
        given = [one(oracle, path, settings) for settings in answers.grid(facts)]
        errors += compared(facts, given)
        refused += given.count(None)
    below = sum(each[1] < 0 for each, _ in errors)
    above = sum(each[1] > 2 for each, _ in errors)
    note = f"of {len(errors)} compute: {below} below, {above} more than 2 % above"
    print_ranges(slug, errors, refused, note)


def show(slug, facts, given, worst):
    errors = compared(facts, given)
    print_ranges(slug, errors, given.count(None))
    if worst:
        each, settings = max(errors, key=lambda entry: abs(entry[0][1]))
        print(f"    {each[1]:+.2f} % compute: {settings}")


def compared(facts, given):
    errors = []
    for settings, answer in zip(answers.grid(facts), given, strict=True):
        if answer is not None:
            ours = [formula(facts, settings) for formula in FORMULAS]
            pairs = [*zip(ours, answer, strict=True), (sum(ours), sum(answer))]
            errors.append(([error(mine, theirs) for mine, theirs in pairs], settings))
    return errors


def print_ranges(slug, errors, refused, note=""):
    ranges = []
    for column in range(4):
        column_errors = [each[column] for each, _ in errors]
        ranges.append(f"{min(column_errors):+8.2f} {max(column_errors):+7.2f}")
    print(
        f"{slug:34}" + "".join(f"{each:>18}" for each in ranges),
        f"  {refused} refused" if refused else "",
        note,
        flush=True,
    )


def error(mine, theirs):
    return 0.0 if abs(mine - theirs) <= ROUNDING else 100 * (mine / max(theirs, 1) - 1)


if __name__ == "__main__":
    main()
