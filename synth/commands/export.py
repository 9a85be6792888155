"""The command `synth export`."""

from pathlib import Path

import click

from synth.commands.options import json_option

FILE = click.Path(path_type=Path)


@click.command()
@click.argument("folder", type=FILE, metavar="RUN")
@click.option("--onnx", type=FILE, required=True, metavar="FILE", help="The file to write.")
@click.option("--config", type=FILE, help="The configuration, if it is not where it was.")
@json_option
def export(folder: Path, onnx: Path, config: Path | None, as_json: bool) -> None:
    """Write the replacement network of a run as ONNX.

    The file is kept only if onnxruntime answers on held-out probes as the replacement does, within
    1e-5 of the largest output.
    """
    from synth.chain import load_choices
    from synth.folder import open_run
    from synth.origin import job_of
    from synth.replacement import export_replacement
    from synth.shown.tables import print_json

    found = open_run(folder)
    job = job_of(found.folder, config)
    share = export_replacement(job, load_choices(job, folder), onnx)
    if as_json:
        print_json({"file": str(onnx), "difference": share})
        return
    click.echo(f"{onnx}: differs by {share:.2g} of the largest output in onnxruntime")
