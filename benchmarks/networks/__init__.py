"""Networks and data that benchmarks read; `benchmarks/networks.py` beside this folder is one."""
