"""``python -m scmobench``."""

from scmobench.cli import main

main()
