"""What commands print: tables, curves and kernels as text."""
