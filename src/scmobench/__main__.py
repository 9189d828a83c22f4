"""``python -m scmobench``."""

from scmobench.cli import main

if __name__ == "__main__":  # not where a configuration names it
    main()
