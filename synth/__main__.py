"""`python -m synth`: the command, for where no script is on the path."""

from synth.command import main

main(prog_name="synth")
