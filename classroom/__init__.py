"""One server for a whole class: JupyterHub with passwords, limits and a read-only cache. README.md beside says how."""
