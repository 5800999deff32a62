"""Renders and validates what deploy/ holds, and prints it as one JSON document for the tests in Rust.

    python render.py REPOSITORY
"""

import json
import os
import re
import sys
from pathlib import Path

import compose_spec
import helm_python.chart as helm
import kubernetes_validate
import yaml
from dockerfile_parse import DockerfileParser

ROOT = Path(sys.argv[1])
CHART = ROOT / "deploy/helm/portal-backup"
# The oldest that Chart.yaml allows, and the newest that the validator knows.
VERSIONS = ["1.25.0", kubernetes_validate.latest_version()]


def values_files():
    yield "default", {}
    yield "docspace", yaml.safe_load((CHART / "values-docspace.yaml").read_text())
    for path in sorted((CHART / "ci").glob("*-values.yaml")):
        yield path.name.removesuffix("-values.yaml"), yaml.safe_load(path.read_text())


def validate(document):
    """What Kubernetes' own schemas say against it, or that they do not know it."""
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(document, version, strict=True)
        except kubernetes_validate.SchemaNotFoundError:
            return "unknown"
        except kubernetes_validate.ValidationError as error:
            return f"{version}: {error.message}"
    return None


def chart():
    loaded = helm.Chart.load(CHART)
    for name, values in values_files():
        lint = helm.lint(CHART, values)
        rendered = loaded.render(values, name="portal-backup", namespace="docspace")
        notes = next(text for path, text in rendered.items() if path.endswith("NOTES.txt"))
        texts = {path: text for path, text in sorted(rendered.items()) if path.endswith(".yaml")}
        objects = [one for text in texts.values() for one in yaml.safe_load_all(text) if one]
        yield {
            "name": name,
            # Helm's severities: 1 is advice, 2 a warning, 3 an error.
            "lint": [one for one in lint["messages"] if one["severity"] > 1] + lint["errors"],
            "notes": notes,
            "objects": objects,
            "invalid": {
                f"{one['kind']} {one['metadata']['name']}": found
                for one in objects
                if (found := validate(one)) is not None
            },
            "text": "\n---\n".join(text.strip() for text in texts.values() if strip(text)),
        }


def strip(text):
    return text.replace("---", "").strip()


def refusals(bad):
    """For each of the values, what the chart's schema or templates say against it; None: nothing."""
    loaded = helm.Chart.load(CHART)
    for values in bad:
        try:
            loaded.validate_schema(values)
            loaded.render(values, name="x", namespace="x")
            yield None
        except Exception as error:  # noqa: BLE001: every refusal is what is asked for
            yield str(error)


def interpolate(text):
    """As Docker Compose does it, with `value` for what has no default."""
    return re.sub(r"\$\{(\w+)(?::-([^}]*)|:\?[^}]*)?\}", lambda m: m[2] or f"{m[1].lower()}-value", text)


def compose():
    for name in ["compose.yaml", "compose.docspace.yaml"]:
        text = interpolate((ROOT / "deploy" / name).read_text())
        compose_spec.PyCompose.from_yaml(text).validate()
        yield name, yaml.safe_load(text)


def dockerfile():
    os.environ["TMPDIR"] = os.environ.get("TMPDIR", "/tmp")
    parser = DockerfileParser(fileobj=open(ROOT / "deploy/Dockerfile", "rb"))
    return [{"name": one["instruction"], "value": one["value"]} for one in parser.structure]


def control():
    """A misspelt field: were it accepted, nothing else that is accepted would mean anything."""
    return validate({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}, "spec": {"portz": []}})


bad = json.loads(sys.stdin.read() or "[]")
print(json.dumps({
    "charts": list(chart()),
    "refusals": list(refusals(bad)),
    "compose": dict(compose()),
    "control": control(),
    "dockerfile": dockerfile(),
}))
