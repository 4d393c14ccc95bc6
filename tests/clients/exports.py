"""Checks reports with the libraries of those who made the formats: `exports.py FOLDER`. Prints how many it read."""

import csv
import io
import json
import sys
from pathlib import Path

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL
from spdx_python_model import v3_0_1 as spdx


def check_cyclonedx(text):
    for version in (SchemaVersion.V1_6, SchemaVersion.V1_7):
        # The schema is told apart by this one word.
        renamed = text.replace('"specVersion":"1.6"', f'"specVersion":"{version.to_version()}"').replace("bom-1.6", f"bom-{version.to_version()}")
        error = JsonStrictValidator(version).validate_str(renamed)
        assert error is None, f"{version}: {error}"
    bom = json.loads(text)
    subject = bom["metadata"].get("component")
    components = bom.get("components", []) + ([subject] if subject else [])
    references = [component["bom-ref"] for component in components]
    assert len(references) == len(set(references)), "a reference stands twice"
    for component in components:
        for one in [component, *component.get("pedigree", {}).get("ancestors", [])]:
            read_back = PackageURL.from_string(one["purl"]).to_string()
            assert read_back.lower() == one["purl"].lower(), one["purl"]
    for annotation in bom["annotations"]:
        assert set(annotation["subjects"]) <= set(references), annotation


def check_spdx(text):
    objects = spdx.SHACLObjectSet()
    with io.BytesIO(text.encode()) as file:
        spdx.JSONLDDeserializer().read(file, objects)
    # What a check of shapes would find: an element that is referred to, and is nowhere.
    missing = objects.link()
    individuals = "https://spdx.org/rdf/3.0.1/terms/"
    missing = {str(one) for one in missing or () if not str(one).startswith(individuals)}
    assert not missing, missing
    ids = [one["spdxId"] for one in json.loads(text)["@graph"] if "spdxId" in one]
    assert len(ids) == len(set(ids)), "an address stands twice"
    documents = list(objects.foreach_type("SpdxDocument"))
    assert len(documents) == 1 and documents[0].rootElement
    # Profile conformance of the AI profile.
    for kind in ("hasDeclaredLicense", "hasConcludedLicense"):
        licensed = [
            getattr(one.from_, "_id", one.from_)
            for one in objects.foreach_type("Relationship")
            if one.relationshipType.endswith("/" + kind)
        ]
        packages = [one._id for one in objects.foreach_type("software_Package")]
        assert sorted(licensed) == sorted(packages), kind


def check_csv(text):
    rows = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    for row in rows:
        assert None not in row and None not in row.values(), row
        assert row["path"].split(" > ")[0].lstrip("'") == row["model"].lstrip("'"), row
        assert not any(value.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) for value in row.values()), row
    return rows


CHECKS = {".cdx.json": check_cyclonedx, ".spdx.json": check_spdx, ".csv": check_csv}

read = 0
for path in sorted(Path(sys.argv[1]).iterdir()):
    for ending, check in CHECKS.items():
        if path.name.endswith(ending):
            try:
                check(path.read_bytes().decode())
            except BaseException:
                print(path.name, file=sys.stderr)
                raise
            read += 1
            break
print(read)
