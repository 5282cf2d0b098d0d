"""The list of parts (SBOM, CycloneDX 1.6): every crate of Cargo.lock and every wheel of scripts/wheels.lock, with its hash."""

import datetime
import json
import pathlib
import re
import uuid

import crates


def listing(root, version, time):
    packages = locked(root) + wheels(root)
    own = {"type": "application", "name": "podium", "version": version, "bom-ref": "podium", "licenses": [{"expression": "MIT OR Apache-2.0"}]}
    stamp = datetime.datetime.fromtimestamp(time, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        # Made from the content, so that the same parts have the same number.
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(packages, sort_keys=True) + version)}",
        "version": 1,
        "metadata": {"timestamp": stamp, "component": own},
        "components": packages,
    }
    return json.dumps(document, indent=1) + "\n"


def locked(root):
    """The crates that the lock file pins; licences where cargo can tell them without a network."""
    text = (pathlib.Path(root) / "Cargo.lock").read_text()
    told = crates.licences(root)
    found = []
    for block in text.split("[[package]]")[1:]:
        field = dict(re.findall(r'(?m)^(\w+) = "(.*)"$', block))
        if "source" not in field:
            continue
        name, version = field["name"], field["version"]
        entry = {"type": "library", "name": name, "version": version, "purl": f"pkg:cargo/{name}@{version}"}
        entry["bom-ref"] = entry["purl"]
        entry["hashes"] = [{"alg": "SHA-256", "content": field["checksum"]}]
        if told.get((name, version)):
            entry["licenses"] = [{"expression": told[name, version]}]
        found.append(entry)
    return found


def wheels(root):
    found = []
    for line in (pathlib.Path(root) / "scripts" / "wheels.lock").read_text().splitlines():
        fields = line.split("#")[0].split()
        if len(fields) == 4 and fields[0] != "cmake":
            name, version, _, digest = fields
            purl = f"pkg:pypi/{name}@{version}"
            hashes = [{"alg": "SHA-256", "content": digest}]
            found.append({"type": "library", "name": name, "version": version, "purl": purl, "bom-ref": purl, "hashes": hashes})
    return found
