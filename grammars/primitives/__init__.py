"""The core grammar: one primitive a file, found by folder."""
