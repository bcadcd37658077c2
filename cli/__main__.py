"""``python -m suite_bench``: the same as the command ``suite-bench``."""

from suite_bench.main import main

main()
