"""Gates as a JUnit report, which CI services show test by test."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from imagine_cli.evaluation.gates import Verdict
from imagine_cli.files.whole_file import whole_file
from imagine_cli.printable import printable


def write_junit(verdicts: list[Verdict], path: str | Path, *, overwrite: bool = False) -> None:
    """One suite, a case for each gate of each model. ImagineError where it can't be written."""
    failed = sum(not verdict.passed for verdict in verdicts)
    counts = {"tests": str(len(verdicts)), "failures": str(failed), "errors": "0"}
    root = ElementTree.Element("testsuites", {"name": "imagine evaluate", **counts})
    suite = ElementTree.SubElement(root, "testsuite", {"name": "imagine evaluate", **counts})
    for verdict in verdicts:
        name = {
            "classname": printable(verdict.model),
            "name": printable(str(verdict.gate)),
            "time": "0",
        }
        case = ElementTree.SubElement(suite, "testcase", name)
        said = printable(verdict.line())
        if verdict.passed:
            ElementTree.SubElement(case, "system-out").text = said
        else:
            failure = ElementTree.SubElement(case, "failure", {"message": said, "type": "gate"})
            failure.text = said
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n"
    with whole_file(Path(path), overwrite=overwrite) as file:
        file.write(text)
