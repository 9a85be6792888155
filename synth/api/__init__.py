"""What `import synth` gives: the commands as functions, and finished runs as objects."""
