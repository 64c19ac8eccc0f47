import dataclasses
import re

from atlas_pipeline.documents import ROOT, generated
from atlas_pipeline.settings import Settings


def test_generated_documents_are_up_to_date():
    for name, text in generated().items():
        assert (ROOT / name).read_text(encoding="utf-8") == text, "run `make docs`"


def test_readme_names_every_setting_and_document():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for field in dataclasses.fields(Settings):
        assert f"ATLAS_{field.name.upper()}" in readme
    for path in (ROOT / "docs").glob("*.md"):
        assert f"docs/{path.name}" in readme


def test_readme_links_lead_somewhere():
    for name in ("README.md", "docs/architecture.md", "docs/operations.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        for target in re.findall(r"\]\((?!https?://)([^)#]+)", text):
            assert ((ROOT / name).parent / target).exists(), f"{name} links to {target}"
