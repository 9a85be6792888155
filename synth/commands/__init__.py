"""The commands of `synth`, one a file; `synth.command` puts them together."""
