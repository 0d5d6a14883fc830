"""``galcli doctor``."""

from __future__ import annotations

import json

import click

from galcli.cli import options as shared


@click.command("doctor")
@shared.json_option
def command(as_json: bool) -> int:
    """Check the installation: Python, libraries, onnxruntime and its devices, models, disk.

    Exit code 5 where something is wrong that keeps predictions from running.
    """
    from galcli.models.doctor import examine

    findings = examine()
    if as_json:
        click.echo(json.dumps([finding.to_dict() for finding in findings]))
    else:
        marks = {"good": "good   ", "note": "note   ", "bad": "BAD    "}
        for finding in findings:
            click.echo(f"{marks[finding.verdict]} {finding.what}")
            if finding.hint:
                click.echo(f"         {finding.hint}")
    return 5 if any(finding.verdict == "bad" for finding in findings) else 0
