#!/usr/bin/env python3
"""Derives `llama_herd.jsonl.zst`: the catalogued descendants of Meta's Llama models, as facts.

What    One JSON object a line, sorted by id: `id`, `license`, `base_models`, `relation`, `lineage_confidence`,
        `downloads`, `created_at` (a date), each left out where nothing is known. No card texts, no weights.
From    A catalog of public models as JSON lines, compressed with zstd, whose facts were read from the models' own
        metadata in public snapshots of 2022 to 2026; see the fields in `src/import/lines.rs`.
How     Roots are Meta's own repositories and the well-known uploads of the original LLaMA weights. From them every
        child is followed down, to the end. Then the other parents of what was found (a merge has several) and their
        ancestors are added, so that no pedigree ends in the air. Nothing is invented, nothing is corrected: cycles,
        contradictions and odd license labels are as they were found.

Usage   python3 derive_herd.py CATALOG.jsonl.zst [llama_herd.jsonl.zst]     (needs the command `zstd`)
        The same catalog gives the same bytes.
"""

import collections
import json
import pathlib
import subprocess
import sys

META = ("meta-llama/", "codellama/")
"""Namespaces whose models are Meta's own."""

ORIGINAL = (
    "huggyllama/llama-",
    "decapoda-research/llama-",
    "elinas/llama-",
    "jeffwan/llama-",
    "yahma/llama-",
    "luodian/llama-",
    "nousresearch/llama-2-",
    "nousresearch/meta-llama-3",
)
"""Uploads of the original weights by others, which name no base."""

KEPT = ("id", "license", "base_models", "relation", "lineage_confidence", "downloads", "created_at")
"""The facts that the herd keeps."""


def read(path):
    """Returns the catalog by lower-cased id."""
    text = subprocess.run(["zstd", "-dcq", path], check=True, capture_output=True).stdout
    models = (json.loads(line) for line in text.splitlines() if line.strip())
    return {model["id"].lower(): model for model in models}


def parents(model):
    """Returns the lower-cased ids of a model's parents."""
    return [base.strip().lower() for base in model.get("base_models", []) if base.strip()]


def walk(start, neighbors):
    """Returns everything that is reached from `start`, itself included."""
    found, open_ids = set(start), list(start)
    while open_ids:
        for following in neighbors(open_ids.pop()):
            if following not in found:
                found.add(following)
                open_ids.append(following)
    return found


def select(catalog):
    """Returns the ids of the herd: roots, descendants, and the ancestors of all of them."""
    children = collections.defaultdict(list)
    for key, model in catalog.items():
        for parent in parents(model):
            children[parent].append(key)
    roots = {key for key in [*catalog, *children] if key.startswith(META + ORIGINAL)}
    descendants = walk(roots, lambda key: children.get(key, []))
    return walk(descendants, lambda key: parents(catalog.get(key, {})))


def facts(model):
    """Returns one line: the kept facts in a fixed order, the date without its time of day."""
    kept = {field: model[field] for field in KEPT if model.get(field) not in (None, "", [], 0)}
    if "created_at" in kept:
        kept["created_at"] = kept["created_at"][:10] + "T00:00:00Z"
    return json.dumps(kept, ensure_ascii=False, separators=(",", ":"))


def main():
    """Reads the catalog, writes the herd."""
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    catalog = read(sys.argv[1])
    default = pathlib.Path(__file__).with_name("llama_herd.jsonl.zst")
    target = pathlib.Path(sys.argv[2]) if len(sys.argv) == 3 else default
    herd = sorted(key for key in select(catalog) if key in catalog)
    lines = "".join(facts(catalog[key]) + "\n" for key in herd).encode()
    packed = subprocess.run(["zstd", "-19", "-q", "-c"], input=lines, check=True, capture_output=True).stdout
    target.write_bytes(packed)
    print(f"{len(herd)} models, {len(lines)} bytes, {len(packed)} compressed: {target}")


if __name__ == "__main__":
    main()
